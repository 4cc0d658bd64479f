package mutants

func apiMutants() []Mutant { return nil }
