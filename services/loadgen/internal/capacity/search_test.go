package capacity_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"orderflow.example/services/loadgen/internal/capacity"
)

func TestSearchFindsTheLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := capacity.Search{Min: 100, Max: 50_000, Precision: rapid.SampledFrom([]float64{0.01, 0.05, 0.2}).Draw(t, "precision"), Tries: 2}
		limit := rapid.Float64Range(1, 80_000).Draw(t, "limit")
		tries := 0
		got, err := s.Run(func(rate float64) (bool, error) {
			tries++
			if rate < s.Min || rate > s.Max {
				t.Fatalf("tried %g", rate)
			}
			return rate <= limit, nil
		})
		switch {
		case err != nil:
			t.Fatal(err)
		case limit < s.Min && got.Best != 0, limit >= s.Max && (got.Best != s.Max || !got.Ceiling):
			t.Fatalf("limit %g: %+v", limit, got)
		case limit >= s.Min && limit < s.Max && (got.Best > limit || got.Best*(1+s.Precision)*1.01 < limit || got.Ceiling):
			t.Fatalf("limit %g: %+v", limit, got)
		case tries > 40:
			t.Fatalf("%d tries", tries)
		}
	})
}

func TestOneHiccupIsNoLimit(t *testing.T) {
	t.Parallel()
	hiccups := map[float64]bool{400: true}
	got, err := capacity.Search{Min: 100, Max: 800, Precision: 0.05, Tries: 2}.Run(func(rate float64) (bool, error) {
		failed := hiccups[rate]
		hiccups[rate] = false
		return !failed, nil
	})
	if err != nil || got.Best != 800 || !got.Ceiling {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestAnInterruptedSearchKeepsWhatItHas(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	got, err := capacity.Search{Min: 100, Max: 50_000, Precision: 0.05, Tries: 1}.Run(func(rate float64) (bool, error) {
		if rate > 1000 {
			return false, stop
		}
		return true, nil
	})
	if !errors.Is(err, stop) || got.Best != 800 {
		t.Fatalf("%+v %v", got, err)
	}
}
