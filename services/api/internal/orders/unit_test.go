package orders

import (
	"errors"
	"testing"
	"time"

	"orderflow.example/services/api/internal/strictjson"
)

// What a leader's end says about those with its key is theirs, too. What is about the leader alone is not: they are tried themselves.
func TestWhatALeadersEndSaysOfItsFollowers(t *testing.T) {
	t.Parallel()
	ordered, other := []Draft{{CustomerName: "a"}}, []Draft{{CustomerName: "b"}}
	stored := []Order{{ID: 7, Draft: ordered[0]}}
	nothing := errors.New("the statement returned nothing")
	for name, test := range map[string]struct {
		err      error
		stored   []Order
		follows  []Draft
		answered bool
		want     error
		ids      []int64
	}{
		"written":                             {stored: stored, follows: ordered, answered: true, ids: []int64{7}},
		"written, and the follower differs":   {stored: stored, follows: other, answered: true, want: ErrKeyReused},
		"written, and the follower is longer": {stored: stored, follows: append(ordered, other...), answered: true, want: ErrKeyReused},
		"found, and differs from the leader":  {err: ErrKeyReused, stored: stored, follows: ordered, answered: true, ids: []int64{7}},
		"found in part":                       {err: ErrKeyReused, follows: ordered},
		"its time was up":                     {err: ErrTimeout, follows: ordered},
		"refused by a rule":                   {err: &RefusedError{}, follows: ordered},
		"a value that cannot be held":         {err: &strictjson.InvalidError{}, follows: ordered},
		"in doubt":                            {err: ErrUnknownOutcome, follows: ordered, answered: true, want: ErrUnknownOutcome},
		"not available":                       {err: ErrUnavailable, follows: ordered, answered: true, want: ErrUnavailable},
		"a fault":                             {err: nothing, follows: ordered, answered: true, want: nothing},
	} {
		leader := newUnit(Request{Key: "k", Orders: ordered}, time.Hour)
		leader.err, leader.stored = test.err, test.stored
		u := newUnit(Request{Key: "k", Orders: test.follows}, time.Hour)
		u.leader = leader
		if !u.take() {
			t.Fatal("it is not waiting")
		}
		answered := u.answerByLeader()
		if answered != test.answered || answered != (u.state.Load() == unitAnswered) || !errors.Is(u.err, test.want) {
			t.Errorf("%s: answered is %v (state %d), %v", name, answered, u.state.Load(), u.err)
		}
		if (len(test.ids) > 0) != u.result.Replayed || len(u.result.Orders) != len(test.ids) || len(test.ids) > 0 && u.result.Orders[0].ID != test.ids[0] {
			t.Errorf("%s: got %+v", name, u.result)
		}
	}
}

// Of each two that happen to a unit at the same time, the first wins.
func TestAUnitsStates(t *testing.T) {
	t.Parallel()
	unit := func() *unit { return newUnit(Request{}, time.Hour) }

	u := unit()
	if _, err := u.expire(); !errors.Is(err, ErrTimeout) || u.take() || u.retake() {
		t.Errorf("withdrawn: %v, state %d", err, u.state.Load())
	}
	u = unit()
	if !u.take() || u.take() {
		t.Error("it is taken once")
	}
	if _, err := u.expire(); !errors.Is(err, ErrUnknownOutcome) || !u.abandoned() {
		t.Errorf("abandoned: %v, state %d", err, u.state.Load())
	}
	u.putBack()
	if u.take() {
		t.Error("what is abandoned is tried again")
	}
	u = unit()
	u.take()
	u.putBack()
	if u.abandoned() || !u.retake() {
		t.Error("what was released can be taken again")
	}
	u.inDoubt = true
	u.putBack()
	if _, err := u.expire(); !errors.Is(err, ErrUnknownOutcome) || !u.retake() {
		t.Errorf("in doubt: %v", err)
	}
	u = unit()
	u.take()
	result := Result{Orders: []Order{{ID: 7}}}
	u.answer(result, nil)
	if got, err := u.expire(); err != nil || len(got.Orders) != 1 {
		t.Errorf("answered at the last moment: %+v, %v", got, err)
	}
	for _, test := range []struct{ err, want error }{{ErrUnavailable, ErrUnknownOutcome}, {ErrTimeout, ErrUnknownOutcome}, {ErrKeyReused, ErrKeyReused}, {nil, nil}} {
		u = unit()
		u.take()
		u.inDoubt = true
		u.answer(Result{}, test.err)
		if !errors.Is(u.err, test.want) {
			t.Errorf("in doubt, and then %v: %v", test.err, u.err)
		}
	}
}
