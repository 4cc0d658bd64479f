package mutants

func consumerMutants() []Mutant { return nil }
