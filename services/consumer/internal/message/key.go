package message

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Installation names one database with its orders: made once, by a migration, and restored with it.
type Installation [16]byte

// OrderKey names an order to others, for ever: an idempotency key. It is one and the same for every attempt and every redrive, and no
// other order has it: not one that is given the same id after a restore, a failover or "truncate ... restart identity", since that is
// created at another moment, and not one of another installation that calls the same receiver.
func OrderKey(installation Installation, id int64, created Instant) string {
	named := binary.BigEndian.AppendUint64(installation[:], uint64(id))
	named = binary.BigEndian.AppendUint64(named, uint64(created.micros))
	sum := sha256.Sum256(named)
	return "order-" + strconv.FormatInt(id, 10) + "-" + hex.EncodeToString(sum[:16])
}

// OrderKey is the key of the message's order.
func (m *Message) OrderKey() string { return OrderKey(m.Installation, m.OrderID, m.Created) }
