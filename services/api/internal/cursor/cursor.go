// Package cursor makes the opaque strings by which a client asks for the next page, and refuses those that were made for
// another list: a cursor that was cut, mistyped or carried over to other filters is not answered with a page of something.
//
// The check is a sum and no signature, and needs no key: replicas read each other's cursors, also after a restart. Whoever
// wants to can make a cursor up. It grants nothing that the list itself does not, but what it says is the client's word: a
// list checks a position as it checks a parameter.
//
// Here is also how a page is filled ([Fill]), from window to window of a list of which few entries pass its filters.
package cursor

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// ErrInvalid is a cursor that was not given out for the list it came back to.
var ErrInvalid = errors.New("is not a cursor that this list, with these filters, gave out")

const (
	sumSize     = 9 // bytes; makes short positions a multiple of three, which base64 needs no padding for
	maxPosition = 512
)

func sum(position string, list []string) []byte {
	hash := sha256.New()
	for _, part := range append([]string{position}, list...) {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(part))) //nolint:gosec // far below 4 GiB
		hash.Write(size[:])
		hash.Write([]byte(part))
	}
	return hash.Sum(nil)[:sumSize]
}

// Make returns the cursor of a position in a list; list says which one: the kind of list and its filters.
func Make(position string, list ...string) string {
	return base64.RawURLEncoding.EncodeToString(append(sum(position, list), position...))
}

// Read returns the position of a cursor for the same list, or ErrInvalid. The position may be anything: a client can make
// cursors, too.
func Read(cursor string, list ...string) (position string, err error) {
	if len(cursor) > 2*maxPosition {
		return "", ErrInvalid
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(raw) <= sumSize {
		return "", ErrInvalid
	}
	position = string(raw[sumSize:])
	if !bytes.Equal(raw[:sumSize], sum(position, list)) {
		return "", ErrInvalid
	}
	return position, nil
}

// searchTime is how long is searched for what a page has, before it ends with what there is. With one window more that is 50 ms at most, also
// where a table has ten million rows.
const searchTime = 25 * time.Millisecond

// Fill fills a page of a list with up to limit entries after a position, and returns the position after which the next page begins; empty at
// the list's end. A page can hold fewer, or none, and still have a next one.
//
// look returns what it finds, up to a number of entries, in the window of the list after a position, and the last position that it has looked
// at; empty when that is the list's end. position is where an entry stands.
func Fill[T any](limit int, after string, look func(after string, most int) (found []T, last string, err error), position func(*T) string) (page []T, next string, err error) {
	for started := time.Now(); ; {
		found, last, err := look(after, limit+1-len(page))
		if err != nil {
			return nil, "", err
		}
		page = append(page, found...)
		switch {
		case len(page) > limit:
			return page[:limit], position(&page[limit-1]), nil
		case last == "", time.Since(started) > searchTime:
			return page, last, nil
		}
		after = last
	}
}
