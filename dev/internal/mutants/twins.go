package mutants

import "fmt"

const (
	api      = "services/api"
	consumer = "services/consumer"
)

// The broken twins: builds of the services that break the promise as a whole, and that the audit of a run must see. The names of those
// that tests build.
const (
	CountsNoEffects    = "the consumer counts no effects"
	EffectWithoutLease = "an ack without its lease has its effect"
	AcksWithoutLease   = "an ack deletes what another consumer has leased"
	WritesTwice        = "the api writes an order without a key twice"
	AnswersTooEarly    = "the api answers 201 before the commit"
	DropsOneInThousand = "the consumer drops a message in a thousand"
)

func twinMutants() []Mutant {
	const sql = consumer + "/internal/queue/sql/"
	accounted := goTest("dev", "./e2e", "TestOrdersAreAccountedFor")
	red := goTest("dev", "./internal/chaos", "TestTheVerdictIsRedForABrokenBuild")
	return []Mutant{
		{
			Breaks: CountsNoEffects, By: accounted, Quick: true,
			Edits: []Edit{
				{sql + "effect.sql", `effects = o.effects + effect.times`, `effects = o.effects`},
				{sql + "effect.sql", ` and o.effects >= effect.times as stands`, ` as stands`}, // else the ack itself notices
			},
		},
		{
			Breaks: EffectWithoutLease, By: accounted,
			Edits: []Edit{{sql + "effect.sql", `            from gone
           group by`, `            from lease
           group by`}},
		},
		{
			Breaks: AcksWithoutLease, By: red,
			Edits: []Edit{{sql + "ack.sql", `     and q.read_ct = lease.read_ct
     and q.enqueued_at = lease.enqueued_at
`, ``}},
		},
		{
			Breaks: WritesTwice, By: red,
			Edits: []Edit{
				{api + "/internal/orders/publish.sql", `    cross join ids
    where not i.lookup_only`, `    cross join ids
    cross join lateral generate_series(1, case when i.idempotency_key is null then 2 else 1 end) as again
    where not i.lookup_only`},
				{api + "/internal/orders/publish.sql", `from fresh f
union all
-- Whatever a hand`, `from (select distinct on (n) * from fresh order by n, id) f
union all
-- Whatever a hand`},
			},
		},
		{
			Breaks: AnswersTooEarly, By: accounted,
			Edits: []Edit{{api + "/internal/orders/publish.go", `	p.fill(units)
	a := &p.args
`, `	// What the batch before this one has written is committed only now.
	for _, statement := range []string{"commit", "begin"} {
		if _, err := p.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	p.fill(units)
	a := &p.args
`}},
		},
		{
			Breaks: DropsOneInThousand, By: accounted,
			Edits: []Edit{
				{sql + "fetch.sql", `with front as materialized (`, `with dropped as (delete from {queue} where msg_id % 1000 = 0),
front as materialized (`},
				{sql + "fetch.sql", `   where vt <= statement_timestamp() and`, `   where msg_id % 1000 <> 0 and vt <= statement_timestamp() and`},
			},
		},
	}
}

// Twin is the mutant with a name.
func Twin(name string) (Mutant, error) {
	for _, m := range twinMutants() {
		if m.Breaks == name {
			return m, nil
		}
	}
	return Mutant{}, fmt.Errorf("there is no twin %q", name)
}
