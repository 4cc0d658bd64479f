package env_test

import (
	"strings"
	"testing"

	"orderflow.example/kit/env"
)

func TestAddressesAreMasked(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"postgres://user:s3cret@h:1/d":                "postgres://user:***@h:1/d",
		"postgres://user:s3%20cret@h/d?sslmode=off":   "postgres://user:***@h/d?sslmode=off",
		"postgres://user@h/d?password=s3cret&a=b":     "postgres://user@h/d?password=***&a=b",
		"https://user@h:8080/p?x=a":                   "https://user@h:8080/p?x=a",
		"host=h user=u password=s3cret dbname=d":      "host=h user=u password=*** dbname=d",
		"host=h password = 's3cret and more' user=u":  "host=h password = *** user=u",
		"host=h password='s3cret without an end":      "host=h password=***",
		`host=h sslpassword='s3cret\' and more' a=b`:  "host=h sslpassword=*** a=b",
		"postgres://user:s3cr@et@db:x/":               "postgres://user:***@db:x/",
		"user:s3cret@db/x":                            "user:***@db/x",
		"user:s3cr/et@db:5432/x?a=b":                  "user:***@db:5432/x?a=b",
		"postgres:/user:s3cret@db/x?a=b":              "postgres:***@db/x?a=b",
		"postgresql+psycopg2://user:s3cret@h:x/d":     "postgresql+psycopg2://user:***@h:x/d",
		"http://user:12/s3cret@h/d":                   "http://user:***@h/d",
		"http://user:12?s3cret@h/d":                   "http://user:***@h/d",
		"https://hooks.example/in?Token=s3cret&a=b#c": "https://hooks.example/in?Token=***&a=b#c",
		"": "",
		// As .NET writes them. What is behind a semicolon may still be the password, so it is not shown either.
		"Host=db;Username=u;Pwd=s3cret;Database=d":         "Host=db;Username=u;Pwd=***",
		"Host=db;Password=s3 cret;Database=d":              "Host=db;Password=***",
		"Host=db;Password=s3cret==;Database=d":             "Host=db;Password=***",
		`Host=db;Password="s3 cret";Database=d`:            "Host=db;Password=***",
		`Host=db;Password="s3""cret";Database=d`:           "Host=db;Password=***",
		"Host=db;Username=u;Password=s3&cret;Database=d":   "Host=db;Username=u;Password=***",
		"Host=db;Password=s3 cr=et;Database=d":             "Host=db;Password=***",
		`host=h password="s3"cret user=u`:                  "host=h password=*** user=u",
		`host=h password="s3 cret" user=u`:                 "host=h password=*** user=u",
		`host=h password="s3 cret user=u`:                  "host=h password=***",
		`host=h password='s3'cret user=u`:                  "host=h password=*** user=u",
		"host=h password=s3&cret user=u":                   "host=h password=*** user=u",
		"host=h password=s3cret;s3cret dbname=d":           "host=h password=***",
		"postgres://h/d?user=u&pwd=s3cret&sslmode=x":       "postgres://h/d?user=u&pwd=***&sslmode=x",
		"jdbc:postgresql://h;user=u;password=s3cret;ssl=1": "jdbc:postgresql://h;user=u;password=***",
		`https://h/in?token="s3cret"&a=b`:                  "https://h/in?token=***&a=b",
	} {
		if got := env.MaskURL(address); got != want {
			t.Errorf("%s is shown as %s, want %s", address, got, want)
		}
	}
}

func FuzzAddressesAreMasked(f *testing.F) {
	f.Add("postgres://user:", "@host/db?x=1")
	f.Add("host=h password=", " user=u")
	f.Add("x://:", "@")
	f.Add("", "%zz/@?@")
	f.Fuzz(func(t *testing.T, before, after string) {
		// Between a colon and an @, or behind password=, stands what must not be seen.
		const secret = "S3cr3t"
		if strings.Contains(before+after, secret) {
			return
		}
		for _, text := range []string{"postgres://user:" + secret + "@" + after, before + " password=" + secret, "host=h password=" + secret + " " + after} {
			if masked := env.MaskURL(text); strings.Contains(masked, secret) {
				t.Errorf("%q is shown as %q", text, masked)
			}
		}
	})
}
