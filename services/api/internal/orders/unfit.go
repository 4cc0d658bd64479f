package orders

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/strictjson"
)

// text is a text value of a request.
type text struct{ location, column, value string }

func (u *unit) texts() []text {
	all := make([]text, 0, 2*len(u.Orders))
	for i, o := range u.Orders {
		location := "body."
		if u.Batch {
			location = "body.orders[" + strconv.Itoa(i) + "]."
		}
		for _, t := range []text{{column: "customer_name", value: o.CustomerName}, {column: "product_name", value: o.ProductName}} {
			t.location = location + t.column
			all = append(all, t)
		}
	}
	return all
}

// unfit names the texts of a unit that the database cannot hold, whose error does not say which: characters that its encoding does
// not have, or more of them than a column takes that somebody has shortened. It is nil when all are fit.
func (p *publisher) unfit(u *unit) (invalid, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	limits, err := p.limits(ctx)
	if err != nil {
		return nil, err
	}
	d := strictjson.NewDecoder("")
	add := func(t text, message string) {
		raw, _ := json.Marshal(t.value) // never fails
		d.Add(t.location, message, string(raw))
	}
	texts := u.texts()
	for _, t := range texts {
		if limit, ok := limits[t.column]; ok && utf8.RuneCountInString(t.value) > limit {
			add(t, "must have at most "+strconv.Itoa(limit)+" characters")
		}
	}
	unknown, err := p.untranslatable(ctx, texts)
	if err != nil {
		return nil, err
	}
	for _, t := range unknown {
		add(t, "has characters that the database cannot store: its encoding is "+p.PgConn().ParameterStatus("server_encoding"))
	}
	return d.Finish(nil), nil
}

// limits are how many characters the columns of orders take, of those with a limit.
func (p *publisher) limits(ctx context.Context) (map[string]int, error) {
	rows, err := p.Query(ctx, `
		select a.attname::text, a.atttypmod - 4
		from pg_catalog.pg_attribute a
		where a.attrelid = 'public.orders'::regclass
		  and a.atttypid in ('varchar'::regtype, 'bpchar'::regtype)
		  and a.atttypmod > 4`)
	if err != nil {
		return nil, fmt.Errorf("look at the columns' lengths: %w", err)
	}
	limits := make(map[string]int)
	var (
		column string
		limit  int
	)
	if _, err := pgx.ForEachRow(rows, []any{&column, &limit}, func() error {
		limits[column] = limit
		return nil
	}); err != nil {
		return nil, fmt.Errorf("look at the columns' lengths: %w", err)
	}
	return limits, nil
}

// untranslatable are the texts that the server cannot take over from UTF-8, found by halving.
func (p *publisher) untranslatable(ctx context.Context, texts []text) ([]text, error) {
	values := make([]string, len(texts))
	for i, t := range texts {
		values[i] = t.value
	}
	var n int
	err := p.QueryRow(ctx, `select cardinality($1::text[])`, values).Scan(&n)
	switch {
	case err == nil:
		return nil, nil
	case !isUnfit(err):
		return nil, fmt.Errorf("look for what the encoding does not have: %w", err)
	case len(texts) == 1:
		return texts, nil
	}
	half := len(texts) / 2
	first, err := p.untranslatable(ctx, texts[:half])
	if err != nil {
		return nil, err
	}
	second, err := p.untranslatable(ctx, texts[half:])
	return append(first, second...), err
}
