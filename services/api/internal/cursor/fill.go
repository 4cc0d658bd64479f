package cursor

import "time"

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
