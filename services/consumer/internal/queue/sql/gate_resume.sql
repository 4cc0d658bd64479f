-- End a pause and tell the consumers. The api does it with the same function.
select from orderflow.resume($1::text)
