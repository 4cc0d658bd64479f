// Package alerts runs the chart's alerts, and the queries of its Grafana dashboard, in Prometheus' own engine on what the services really
// tell, while they are at work and while something is wrong with them.
//
// Time is stretched: each scrape counts as the chart's scrape interval, however soon it follows the one before. So an alert that holds
// for half an hour is tested in a moment, and how fast the machine is decides nothing. What the services measure in seconds themselves,
// such as how long an order has been waiting, is real time, and the thresholds for it are values of the chart.
//
// It is a module of its own, so that nobody else depends on Prometheus, and must never be imported by anybody.
package alerts
