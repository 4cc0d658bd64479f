package mutants

// alertMutants break the alerts, the Grafana dashboard, and what both rest on.
func alertMutants() []Mutant {
	const (
		rules     = chartDir + "/templates/prometheusrule.yaml"
		dashboard = chartDir + "/files/dashboard.json"

		thresholds = "TestThresholdsAreWhereTheyAreMeantToBe"
	)
	by := func(name string) Test { return goTest("dev/alerts", ".", name) }
	return []Mutant{
		{
			Breaks: "alerts: a threshold that no share of refusals reaches", By: by("TestOrdersCannotBeWritten"),
			Edits: []Edit{{rules, `[3m])) > 0.01`, `[3m])) > 1`}},
		},
		{
			Breaks: "alerts: a metric that there is not", By: by("TestNoConnectionsLeft"),
			Edits: []Edit{{rules, `min by (pod) (orderflow_consumer_database_up{`, `min by (pod) (orderflow_consumer_db_up{`}},
		},
		{
			Breaks: "alerts: an outage of the database is told a quarter of an hour later", By: by("TestPostgresAway"),
			Edits: []Edit{{rules, `for: 1m
          labels: {severity: critical}
          annotations:
            summary: >-
              {{ "{{ $labels.pod }}" }} has had no`, `for: 15m
          labels: {severity: critical}
          annotations:
            summary: >-
              {{ "{{ $labels.pod }}" }} has had no`}},
		},
		{
			Breaks: "alerts: nobody knows whose database is away", By: by("TestPostgresAway"),
			Edits: []Edit{{rules, `min by (pod) (orderflow_consumer_database_up{`, `min(orderflow_consumer_database_up{`}},
		},
		{
			Breaks: "alerts: nobody gets up for orders that wait", By: by("TestAlertsTellWhatToDo"),
			Edits: []Edit{{rules, `          for: 2m
          labels: {severity: critical}`, `          for: 2m
          labels: {severity: warning}`}},
		},
		{
			Breaks: "alerts: a crash may lose what it likes", By: by("TestAQueueThatACrashWouldEmpty"),
			Edits: []Edit{{rules, `max by (risk, orders) (orderflow_api_durability_risk{ {{- $in -}} }) > 0`, `max by (risk, orders) (orderflow_api_durability_risk{ {{- $in -}} }) > 1`}},
		},
		{
			Breaks: "alerts: orders that are refused for what a crash would lose are a second fault", By: by("TestOrdersAreRefusedForWhatACrashWouldLose"),
			Edits: []Edit{{rules, `
              unless on() (max(orderflow_api_durability_risk{ {{- $in -}} , orders="refused"}) > 0)`, ``}},
		},
		{
			Breaks: "alerts: a search that stands still is no news", By: by("TestTheSearchForStrandedOrdersStandsStill"),
			Edits: []Edit{{rules, `min(orderflow_api_stranded_search_age_seconds`, `min(orderflow_api_stranded_search_seconds`}},
		},
		{
			Breaks: "alerts: a pause is no news soon enough", By: by("TestPaused"),
			Edits: []Edit{{rules, `for: 30m`, `for: 20m`}},
		},
		{
			Breaks: "alerts: they look at pods that there are not", By: by("TestReceiverAway"),
			Edits: []Edit{{rules, `"%s-(api|consumer)-.*"`, `"%s-(api|worker)-.*"`}},
		},
		{
			Breaks: "alerts: silence is none", By: by("TestConsumersGone"),
			Edits: []Edit{{rules, `expr: absent(orderflow_consumer_database_up{ {{- $in -}} })`, `expr: count(orderflow_consumer_database_up{ {{- $in -}} }) == 0`}},
		},
		{
			Breaks: "alerts: orders that wait for a pause to end are a second fault", By: by("TestPaused"),
			Edits: []Edit{{rules, `
              unless on() (max(orderflow_consumer_paused{ {{- $in -}} }) > 0)`, ``}},
		},
		{
			Breaks: "alerts: dead letters are counted by consumers, which may have been started for them", By: by("TestAnOrderKillsConsumers"),
			Edits: []Edit{{rules, `max(orderflow_api_queue_dead_letters{ {{- $in -}} })
              - min(min_over_time(orderflow_api_queue_dead_letters{ {{- $in -}} }[15m])) > 0`, `sum(increase(orderflow_consumer_messages_dead_total{ {{- $in -}} }[15m])) > 0`}},
		},
		{
			Breaks: "alerts: an outage that is over is a second one", By: by("TestPostgresAway"),
			Edits: []Edit{{rules, `status=~"5.."}[3m]))`, `status=~"5.."}[10m]))`}, {rules, `{{ $asked }}}[3m]))`, `{{ $asked }}}[10m]))`}},
		},
		{
			Breaks: "alerts: a link leads to no section", By: by("TestAlertsTellWhatToDo"),
			Edits: []Edit{{rules, `{{ $.alert | lower }}`, `{{ $.alert }}`}},
		},
		{
			Breaks: "alerts: a service renames what one asks for", By: by("TestPaused"),
			Edits: []Edit{{consumer + "/internal/metrics/metrics.go", `f.gauge("paused",`, `f.gauge("stopped",`}},
		},
		{
			Breaks: "alerts: orders may wait ten times as long", By: by(thresholds),
			Edits: []Edit{{chartDir + "/values.yaml", `oldestMessageSeconds: 60`, `oldestMessageSeconds: 600`}},
		},
		{
			Breaks: "alerts: one request in ten may be refused", By: by(thresholds),
			Edits: []Edit{{rules, `[3m])) > 0.01`, `[3m])) > 0.1`}},
		},
		{
			Breaks: "alerts: a lease that is lost now and then gets somebody up", By: by(thresholds),
			Edits: []Edit{{rules, `[10m])) > 0.1`, `[10m])) > 0.01`}},
		},
		{
			Breaks: "alerts: attempts that ask for patience count as failed", By: by(thresholds),
			Edits: []Edit{{rules, `kind!~"permanent|throttled"}[10m]))
              /`, `reason!~"permanent|throttled"}[10m]))
              /`}},
		},
		{
			Breaks: "alerts: an outage of what the handlers call is told two hours later", By: by(thresholds),
			Edits: []Edit{{rules, `for: 1m
          labels: {severity: critical}
          annotations:
            summary: >-
              The breaker`, `for: 2h
          labels: {severity: critical}
          annotations:
            summary: >-
              The breaker`}},
		},
		{
			Breaks: "alerts: a search that gets on is one that does not", By: by(thresholds),
			Edits: []Edit{{rules, `min(orderflow_api_stranded_search_age_seconds{ {{- $in -}} }) >`, `min(orderflow_api_stranded_search_age_seconds{ {{- $in -}} }) <`}},
		},
		{
			Breaks: "the Grafana dashboard asks for what nobody tells", By: by("TestDashboardShowsARun"),
			Edits: []Edit{{dashboard, `sum(rate(orderflow_api_commits_total{`, `sum(rate(orderflow_api_commit_total{`}},
		},
		{
			Breaks: "the Grafana dashboard shows seconds as a number", By: by("TestDashboardShowsARun"),
			Edits: []Edit{{dashboard, `                "id": "unit",
                "value": "s"`, `                "id": "unit",
                "value": "short"`}},
		},
	}
}
