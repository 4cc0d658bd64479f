package orders

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"orderflow.example/services/api/internal/database"
)

// open is what is known of the orders that are not completed: up to position each of them is in a block of orderflow.open_blocks (see
// migration 00012), so that the pending ones among millions that are completed need not be looked for. -1: nothing is known. What somebody's
// hand has made pending again among completed ones is listed when the search for stranded orders has come by.
type open struct{ position int64 }

// openOrders reads what is known, if the list is of pending orders by their ids.
func openOrders(ctx context.Context, db querier, filter Filter) (open, error) {
	if filter.Status != StatusPending || filter.CustomerName != "" || filter.KeyPrefix != "" {
		return open{-1}, nil
	}
	var o open
	// A table that has been restored is another file: what was known of the one before says nothing.
	err := db.QueryRow(ctx, `
		select coalesce(max(s.position) filter (where s.filenode = pg_relation_filenode('public.orders')), -1) from orderflow.order_scan s`).Scan(&o.position)
	if err != nil {
		return open{}, fmt.Errorf("read how far the search for open orders has come: %w", err)
	}
	return o, nil
}

// reached tells whether what comes after a position of the list is known.
func (o open) reached(after string) bool {
	id, err := strconv.ParseInt(after, 10, 64)
	return err == nil && id-1 <= o.position
}

const (
	blockSize = 256 // orders in a block
	mostOpen  = scanWindow / blockSize
)

// openWindow is window for pending orders that are known: it looks into some of the open blocks.
func openWindow(ctx context.Context, db querier, _ Filter, limit int, after string, as database.ShownAs) (found []Order, last string, err error) {
	id, _ := strconv.ParseInt(after, 10, 64) // reached has read it
	rows, err := db.Query(ctx, `select b.block from orderflow.open_blocks b where b.block <= $1 order by b.block desc limit $2`, (id-1)/blockSize, mostOpen)
	if err != nil {
		return nil, "", err
	}
	blocks, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(blocks) == 0 {
		return nil, "", err
	}
	rows, err = db.Query(ctx, `
		select `+columns(textOfMany, as)+`
		from unnest($1::bigint[]) b (block)
		cross join lateral ( -- by the primary key: a range that is only known when it runs would be taken for a large part of the table
			select o.* from public.orders o where o.id >= b.block * $2::bigint and o.id < (b.block + 1) * $2::bigint order by o.id limit $2
		) o
		where o.id < $3 and o.status = $4
		order by o.id desc
		limit $5`, blocks, blockSize, id, StatusPending, limit)
	if err != nil {
		return nil, "", err
	}
	found, err = pgx.CollectRows(rows, scan)
	if err != nil || len(found) == limit || len(blocks) < mostOpen {
		return found, "", err
	}
	return found, strconv.FormatInt(blocks[len(blocks)-1]*blockSize, 10), nil
}
