package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Share is a part of a whole between 0 and 1, written 1% or 0.01.
type Share float64

// Decode reads a share; envconfig calls it.
func (s *Share) Decode(text string) error {
	text = strings.TrimSpace(text)
	number, percent := strings.CutSuffix(text, "%")
	f, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || math.IsNaN(f) {
		return errors.New("not a share")
	}
	if percent {
		f /= 100
	}
	if f < 0 || f > 1 {
		return errors.New("not between 0 and 100%")
	}
	*s = Share(f)
	return nil
}

func (s Share) String() string {
	return strconv.FormatFloat(float64(s)*100, 'g', 6, 64) + "%"
}
