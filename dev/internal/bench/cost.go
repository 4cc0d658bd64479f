package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"orderflow.example/dev/internal/ps"
	"orderflow.example/dev/internal/stack"
)

// cost is what an order takes of the machine; what cannot be known here is 0.
type cost struct {
	wal          float64                   // bytes an order
	transactions float64                   // that were committed, an order
	dead         float64                   // rows that wait for vacuum at the end, an order
	deleted      float64                   // rows of orders that were deleted, an order
	cpu          map[stack.Service]float64 // milliseconds an order; of Postgres under its own name
	memory       map[stack.Service]float64 // the most MiB that a process had resident
}

const postgresService stack.Service = "postgres"

// meter sees what is used between its making and its reading.
type meter struct {
	b            *Bench
	backend      int // a process of the server's, whose parent is the postmaster
	wal          float64
	transactions int64
	deleted      float64
	cpu          map[stack.Service]float64
	memory       map[stack.Service]float64
	postgres     float64 // CPU at the beginning, in ms
}

func (b *Bench) meter(ctx context.Context) (*meter, error) {
	m := &meter{b: b, cpu: map[stack.Service]float64{}, memory: map[stack.Service]float64{}}
	err := m.ask(ctx, &m.wal, &m.deleted, &m.transactions, &m.postgres)
	return m, err
}

// ask reads the server's counters. Sessions report theirs when they end, so those of the services have to be over.
func (m *meter) ask(ctx context.Context, wal, deleted *float64, transactions *int64, postgres *float64) error {
	return m.b.with(ctx, func(conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, `
			select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8, pg_backend_pid(),
			       (select xact_commit from pg_stat_database where datname = current_database()),
			       (select n_tup_del::float8 from pg_stat_user_tables where relid = 'public.orders'::regclass)`).Scan(wal, &m.backend, transactions, deleted)
		if err != nil {
			return err
		}
		*postgres = serverCPU(m.backend)
		return nil
	})
}

// look notes what the services have used until now: afterwards their processes are gone.
func (m *meter) look(s *stack.Stack) {
	for _, service := range stack.Services {
		for _, node := range s.Nodes(service) {
			own, _ := processCPU(node.Process().PID())
			m.cpu[service] += own
			m.memory[service] = max(m.memory[service], peakMemory(node.Process().PID()))
		}
	}
}

// read returns what was used since, for each of so many orders.
func (m *meter) read(ctx context.Context, orders int) (cost, error) {
	var wal, deleted, postgres float64
	var transactions int64
	if err := m.ask(ctx, &wal, &deleted, &transactions, &postgres); err != nil {
		return cost{}, err
	}
	n := float64(max(orders, 1))
	c := cost{
		wal: (wal - m.wal) / n, transactions: float64(transactions-m.transactions) / n, deleted: (deleted - m.deleted) / n,
		cpu: map[stack.Service]float64{}, memory: m.memory,
	}
	for service, spent := range m.cpu {
		c.cpu[service] = spent / n
	}
	c.cpu[postgresService] = (postgres - m.postgres) / n
	err := m.b.with(ctx, func(conn *pgx.Conn) error {
		var dead int64
		err := conn.QueryRow(ctx, `
			select coalesce(sum(n_dead_tup), 0)::bigint from pg_stat_user_tables where relid in ('public.orders'::regclass, 'pgmq.q_order_queue'::regclass)`).Scan(&dead)
		c.dead = float64(dead) / n
		return err
	})
	return c, err
}

// serverCPU is what a server's processes have used, in milliseconds: the postmaster's children that are there, and those that have ended.
func serverCPU(backend int) float64 {
	list, err := ps.List()
	if err != nil {
		return 0
	}
	var postmaster int
	for _, p := range list {
		if p.PID == backend {
			postmaster = p.Parent
		}
	}
	if postmaster == 0 {
		return 0 // it runs elsewhere, or where processes cannot be seen
	}
	own, ended := processCPU(postmaster)
	sum := own + ended
	for _, p := range list {
		if p.Parent == postmaster {
			own, _ := processCPU(p.PID)
			sum += own
		}
	}
	return sum
}

// processCPU reads what a process and its ended children have used, in milliseconds (proc_pid_stat(5), fields 14 to 17, in ticks of 10 ms).
func processCPU(pid int) (own, ended float64) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const tick, first = 10, 14 - 3 // the fields begin with the third
	if len(fields) < first+4 {
		return 0, 0
	}
	ticks := func(i int) float64 {
		n, _ := strconv.ParseFloat(fields[first+i], 64) // the kernel writes numbers
		return n * tick
	}
	return ticks(0) + ticks(1), ticks(2) + ticks(3)
}

// peakMemory is the most that a process has had resident, in MiB (proc_pid_status(5), VmHWM).
func peakMemory(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64) // the kernel writes numbers
			return kib / 1024
		}
	}
	return 0
}
