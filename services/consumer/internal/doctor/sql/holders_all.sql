-- The same by the function with which the schema lets the consumer's role see other roles' sessions.
select kind, name, xmin_age, extract(epoch from clock_timestamp() - since)::float8, detail from orderflow.vacuum_holders()
