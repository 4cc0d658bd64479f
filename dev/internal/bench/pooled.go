package bench

import (
	"context"
	"errors"

	"orderflow.example/kit/pgbouncer"
)

// poolSize is how many connections to the server the pooler has.
const poolSize = 10

// pooled compares the services behind PgBouncer in transaction mode with the same ones that are connected directly.
func (b *Bench) pooled() []group {
	return []group{
		{
			name: "pooler-publish", title: "POST /orders through PgBouncer in transaction mode",
			contenders: []contender{b.publish(64, 1), b.throughPooler(func(b *Bench) contender { return b.publish(64, 1) })},
		},
		{
			name: "pooler-consume", title: "Consuming through PgBouncer in transaction mode", note: "One consumer, without work.",
			contenders: []contender{
				b.consume("as shipped", 1, asShipped, preloaded, 0),
				b.throughPooler(func(b *Bench) contender { return b.consume("as shipped", 1, asShipped, preloaded, 0) }),
				b.consume("BATCH_SIZE=1000 CONCURRENCY=64", 1, atItsBest, preloaded, 0),
				b.throughPooler(func(b *Bench) contender {
					return b.consume("BATCH_SIZE=1000 CONCURRENCY=64", 1, atItsBest, preloaded, 0)
				}),
			},
		},
	}
}

// throughPooler measures the same with a pooler in between.
func (b *Bench) throughPooler(contend func(*Bench) contender) contender {
	return contender{name: contend(b).name + ", through PgBouncer", measure: func(ctx context.Context) (got figures, err error) {
		p, err := pgbouncer.Start(ctx, b.DatabaseURL, pgbouncer.Transaction, poolSize)
		if err != nil {
			return figures{}, err
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		behind := *b
		behind.ServicesURL = p.URL
		return contend(&behind).measure(ctx)
	}}
}
