package gating

// Ticket is what the gate knows of one delivery. Its fields are guarded by the gate.
type Ticket struct {
	message  int64 // msg_id
	probe    bool  // to find out whether the breaker may close
	epoch    int   // of the gate, when its handler began
	reported bool  // the gate has heard how it ended
}

// NewTicket is for a delivery of a message.
func NewTicket(message int64) Ticket { return Ticket{message: message} }
