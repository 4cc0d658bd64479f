package config

import (
	"errors"
	"fmt"
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

// Bytes is a size, written 4096, 512KiB or 3MiB.
type Bytes int

// Decode reads a size; envconfig calls it.
func (b *Bytes) Decode(text string) error {
	number, unit := strings.TrimSpace(text), 1
	for suffix, n := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(rest), n
			break
		}
	}
	n, err := strconv.Atoi(number)
	if err != nil {
		return errors.New("not a size")
	}
	if n < 0 || n > math.MaxInt32/unit {
		return errors.New("out of range")
	}
	*b = Bytes(n * unit)
	return nil
}

func (b Bytes) String() string {
	switch {
	case b > 0 && b%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", b>>20)
	case b > 0 && b%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", b>>10)
	}
	return strconv.Itoa(int(b))
}
