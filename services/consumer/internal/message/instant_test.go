package message

import (
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

func TestAnInstantComesBackAsItWasStored(t *testing.T) {
	t.Parallel()
	for _, want := range []pgtype.Timestamptz{
		{},
		{Valid: true, InfinityModifier: pgtype.Infinity},
		{Valid: true, InfinityModifier: pgtype.NegativeInfinity},
		{Valid: true, Time: time.Date(2026, 1, 7, 19, 48, 3, 123456000, time.UTC)},
		{Valid: true, Time: time.Date(-4712, 1, 1, 0, 0, 0, 0, time.UTC)},               // the earliest that Postgres stores
		{Valid: true, Time: time.Date(294276, 12, 31, 23, 59, 59, 999999000, time.UTC)}, // and the latest
	} {
		var i, same Instant
		if err := i.ScanTimestamptz(want); err != nil {
			t.Fatal(err)
		}
		got, err := i.TimestamptzValue()
		if err != nil || got.Valid != want.Valid || got.InfinityModifier != want.InfinityModifier ||
			want.Valid && want.InfinityModifier == pgtype.Finite && !got.Time.Equal(want.Time) {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
		if err := same.ScanTimestamptz(got); err != nil || same != i {
			t.Errorf("%v is not equal to itself: %v, %v", want, same, err)
		}
	}
}

func TestTimesAreReadAsProgramsWriteThem(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"2026-01-07T19:48:03.123456"`:       "2026-01-07T19:48:03.123456Z", // Python's isoformat of a time without a zone
		`"2026-01-07T19:48:03"`:              "2026-01-07T19:48:03Z",
		`"2026-01-07T19:48:03.100000+00:00"`: "2026-01-07T19:48:03.1Z",
		`"2026-01-07T21:48:03.5+02:00"`:      "2026-01-07T19:48:03.5Z",
		`"2026-01-07T19:48:03.5Z"`:           "2026-01-07T19:48:03.5Z",
		`"2026-01-07 19:48:03.5"`:            "2026-01-07T19:48:03.5Z",
		`"2026-01-07 19:48:03.5+00:00"`:      "2026-01-07T19:48:03.5Z",
		`"yesterday"`:                        "null",
		`""`:                                 "null",
		`null`:                               "null",
		`7`:                                  "null",
	} {
		if got := parseInstant([]byte(text)).String(); got != want {
			t.Errorf("%s is read as %s, want %s", text, got, want)
		}
	}
	if (Instant{math.MaxInt64, true}).String() != "infinity" || (Instant{math.MinInt64, true}).String() != "-infinity" {
		t.Error("the infinities have lost their names")
	}
}
