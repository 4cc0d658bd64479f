-- What this process says of itself, as one more column of peek.sql, or alone. $1 and $2 are that statement's.
orderflow.report($3, $2::text, 'consumer', $4, $5::float8, $6::float8, $7, $8::integer, $9::integer, 0, $10::bigint, $11::bigint, $12::bigint, $13::bigint, $14::bigint[])
