-- Stop the queue's consumers and tell them. The api does it with the same function.
select from orderflow.pause($1::text, $2::text, '')
