package database

// PingTimeout is how long the server may take to answer.
var PingTimeout = pingTimeout
