package env

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written with or without a unit: 65536, 512KiB, 2MiB.
type Size int64

var units = []struct {
	suffix string
	bytes  Size
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}, {"", 1}}

// Decode reads a size, for envconfig.
func (s *Size) Decode(text string) error {
	for _, u := range units {
		digits, found := strings.CutSuffix(strings.TrimSpace(text), u.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil {
			return err
		}
		if n > math.MaxInt64/int64(u.bytes) || n < math.MinInt64/int64(u.bytes) {
			return fmt.Errorf("not a size: %s", text)
		}
		*s = Size(n) * u.bytes
		return nil
	}
	return fmt.Errorf("not a size: %s", text)
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range units {
		if s != 0 && s%u.bytes == 0 && u.suffix != "B" {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
