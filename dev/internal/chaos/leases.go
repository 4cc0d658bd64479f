package chaos

import (
	"context"
	"errors"

	"orderflow.example/dev/internal/stack"
)

// A message that has been read by a second consumer must not be completed under the lease of the first: that is the lease check, and the
// ledger alone cannot see it, because a message can be deleted only once, whoever does it. So a trigger notes who reads each message, and
// the order says who completed it. An order that nobody says to have completed, or whose message nobody has read, is broken as well.
const (
	recordReadsSQL = `
		create table public.chaos_reads (msg_id bigint, read_ct integer, reader text);
		create function public.chaos_note_read() returns trigger language plpgsql security definer as $$
		begin
		  insert into public.chaos_reads values (new.msg_id, new.read_ct, current_setting('application_name'));
		  return null;
		end $$;
		create trigger chaos_note_read after update of read_ct on pgmq.q_order_queue
		  for each row when (new.read_ct > old.read_ct) execute function public.chaos_note_read()`
	brokenSQL = `
		select count(*) from public.orders as o
		  left join (select distinct on (msg_id) msg_id, reader from public.chaos_reads order by msg_id, read_ct desc) as last on last.msg_id = o.message_id
		 where o.status = 'completed' and last.reader is distinct from 'orderflow-consumer ' || o.processed_by`
	// heldSQL counts the messages that a consumer has read last, and whose leases have not ended.
	heldSQL = `
		select count(*) from pgmq.q_order_queue as q
		 where q.vt > clock_timestamp()
		   and (select reader from public.chaos_reads as r where r.msg_id = q.msg_id order by r.read_ct desc limit 1) = 'orderflow-consumer ' || $1::text`
	deliveredAgainSQL = `select count(*) from (select from public.chaos_reads group by msg_id having count(*) > 1) as again`
)

// recordReads notes from now on who reads which message. To be called before there is any load.
func (r *Rig) recordReads(ctx context.Context) error {
	return r.sql(ctx, recordReadsSQL)
}

// catch stops a consumer that holds leases. On a busy machine it may have settled what it was seen to hold before it is stopped: then it goes on.
func (r *Rig) catch(ctx context.Context, n *stack.Node) error {
	return r.until(ctx, n.Name+" has work", func() (bool, error) {
		if !holdsLeases(ctx, n) {
			return false, nil
		}
		if err := n.Pause(); err != nil {
			return false, err
		}
		held, err := r.scalar(ctx, heldSQL, n.Name)
		if held > 0 {
			return true, nil
		}
		return false, errors.Join(err, n.Resume())
	})
}

// checkDeliveries says how often messages were delivered again, after account. Some must have been: a fault that caused none shows
// nothing. None of it may have cost an attempt, and no order may have been completed under a lease that another consumer had taken over.
func (r *Rig) checkDeliveries(ctx context.Context, what string) error {
	again, err := r.scalar(ctx, deliveredAgainSQL)
	if err != nil {
		return err
	}
	broken, err := r.scalar(ctx, brokenSQL)
	if err != nil {
		return err
	}
	r.check(again > 0, what, again, "some")
	if r.receiver == nil { // who tells the second of two attempts at the same time that it has failed
		r.check(r.result.Retried == 0, "attempts counted of orders that did not fail", r.result.Retried, 0)
	}
	r.check(broken == 0, "orders completed under a lease that another consumer had taken over", broken, 0)
	return nil
}
