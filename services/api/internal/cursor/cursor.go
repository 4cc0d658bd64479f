// Package cursor makes the opaque strings by which a client asks for the next page, and takes back only those that it made
// for the same list: a cursor that was altered, made up or carried over to other filters is refused instead of answered with
// a page of something.
//
// The check is against accidents and not a secret: a cursor grants nothing that the list itself does not. So the key is
// constant, and a page that one replica began another can continue.
package cursor

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
)

// ErrForged is a cursor that was not given out for the list it came back to.
var ErrForged = errors.New("is not a cursor that this list, with these filters, gave out")

const (
	checkSize   = 9 // bytes; makes short positions a multiple of three, which base64 needs no padding for
	maxPosition = 512
)

var key = []byte("orderflow page cursor 1")

func check(position string, list []string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range append([]string{position}, list...) {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(part))) //nolint:gosec // far below 4 GiB
		mac.Write(size[:])
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)[:checkSize]
}

// Make returns the cursor of a position in a list; list says which one: the kind of list and its filters.
func Make(position string, list ...string) string {
	return base64.RawURLEncoding.EncodeToString(append(check(position, list), position...))
}

// Read returns the position of a cursor made for the same list, or ErrForged.
func Read(cursor string, list ...string) (position string, err error) {
	if len(cursor) > 2*maxPosition {
		return "", ErrForged
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= checkSize {
		return "", ErrForged
	}
	position = string(raw[checkSize:])
	if subtle.ConstantTimeCompare(raw[:checkSize], check(position, list)) != 1 {
		return "", ErrForged
	}
	return position, nil
}
