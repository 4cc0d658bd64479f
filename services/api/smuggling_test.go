package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"orderflow.example/kit/testdb"
)

// exchange sends bytes on one connection, says that no more will come, and returns every answer until the server closes.
func (s *service) exchange(t *testing.T, request string) []answer {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%.80q: after %.20q: %v", request, raw, err)
	}
	return answers(t, raw)
}

// answers takes a stream of answers apart; interim ones are answers, too.
func answers(t *testing.T, raw []byte) []answer {
	t.Helper()
	var all []answer
	r := bufio.NewReader(bytes.NewReader(raw))
	for {
		if _, err := r.Peek(1); errors.Is(err, io.EOF) {
			return all
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("not a stream of answers: %v\n%q", err, raw)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatalf("not a stream of answers: %v\n%q", err, raw)
		}
		if resp.Close {
			resp.Header.Set("Connection", "close") // ReadResponse takes it out
		}
		all = append(all, answer{resp.StatusCode, resp.Header, string(body)})
	}
}

func statuses(all []answer) []int {
	out := make([]int, len(all))
	for i, a := range all {
		out[i] = a.status
	}
	return out
}

// smuggled is what an attacker would like to have answered as a request of its own.
const smuggled = "GET /queue HTTP/1.1\r\nHost: smuggled\r\n\r\n"

// Every request here is followed by, or carries, another one. What does not follow RFC 9112 to the letter is refused before it
// is looked at as an order, and ends the connection: nothing that comes after it is ever answered as a request.
func TestNothingIsSmuggledIn(t *testing.T) {
	t.Parallel()
	db := testdb.New(t)
	s := started(t, map[string]string{"DATABASE_URL": db})
	order := orderJSON(1)
	size := strconv.Itoa(len(order))
	const line = "POST /orders HTTP/1.1\r\n"
	const host = "Host: x\r\n"
	const kind = "Content-Type: application/json\r\n"
	length := "Content-Length: " + size + "\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(order), order)
	const chunked = "Transfer-Encoding: chunked\r\n"
	head := line + host + kind
	form := "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--X--\r\n" + strings.Repeat("\r\n", 3000) + smuggled
	sized := func(headers, body string) string {
		return line + host + headers + "Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}

	for name, test := range map[string]struct {
		request string
		want    []int // the answers' statuses
	}{
		// What is right is taken, and what follows it is answered.
		"an order":                         {head + length + "\r\n" + order, []int{201}},
		"an order, then another request":   {head + length + "\r\n" + order + smuggled, []int{201, 200}},
		"empty lines before a request":     {"\r\n\r\n" + head + length + "\r\n" + order, []int{201}},
		"chunks":                           {head + chunked + "\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{201, 200}},
		"chunks of one byte":               {head + chunked + "\r\n" + bytewise(order) + "0\r\n\r\n" + smuggled, []int{201, 200}},
		"chunk with an extension":          {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", ";a=b;c=\"d e\"\r\n", 1) + "0;x\r\n\r\n" + smuggled, []int{201, 200}},
		"chunked, in capitals":             {head + "TRANSFER-ENCODING: Chunked\r\n\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{201, 200}},
		"a trailer that means nothing":     {head + chunked + "\r\n" + chunk + "0\r\nX-Sum: 1\r\n\r\n" + smuggled, []int{201, 200}},
		"absolute form":                    {"POST http://x/orders HTTP/1.1\r\n" + host + kind + length + "\r\n" + order + smuggled, []int{201, 200}},
		"GET with a body":                  {"GET /queue HTTP/1.1\r\n" + host + "Content-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled + smuggled, []int{200, 200}},
		"GET with chunks":                  {"GET /queue HTTP/1.1\r\n" + host + chunked + "\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{200, 200}},
		"DELETE with a body":               {"DELETE /orders HTTP/1.1\r\n" + host + "Content-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled + smuggled, []int{405, 200}},
		"expecting 100-continue":           {head + length + "Expect: 100-continue\r\n\r\n" + order + smuggled, []int{201, 200}},
		"upgrade to HTTP/2":                {"GET /queue HTTP/1.1\r\n" + host + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + smuggled, []int{200, 200}},
		"upgrade to a websocket":           {"GET /queue HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n" + smuggled, []int{200, 200}},
		"HTTP/1.0":                         {"POST /orders HTTP/1.0\r\n" + kind + length + "\r\n" + order + smuggled, []int{201}},
		"HTTP/1.0 that is to go on":        {"POST /orders HTTP/1.0\r\nConnection: keep-alive\r\n" + kind + length + "\r\n" + order + smuggled, []int{201, 200}},
		"a body of another kind":           {sized("Content-Type: text/plain\r\n", smuggled) + smuggled, []int{415, 200}},
		"a form with a request behind it":  {sized("Content-Type: multipart/form-data; boundary=X\r\n", form) + smuggled, []int{415, 200}},
		"the same as a batch":              {strings.Replace(sized("Content-Type: multipart/form-data; boundary=X\r\n", form), "/orders", "/orders/batch", 1) + smuggled, []int{415, 200}},
		"the same to nowhere":              {strings.Replace(sized("Content-Type: multipart/form-data; boundary=X\r\n", form), "/orders", "/nowhere", 1) + smuggled, []int{404, 200}},
		"the same as another method":       {strings.Replace(sized("Content-Type: multipart/form-data; boundary=X\r\n", form), "POST", "DELETE", 1) + smuggled, []int{405, 200}},
		"a form in chunks":                 {line + host + "Content-Type: multipart/form-data; boundary=X\r\n" + chunked + "\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(form), form) + smuggled, []int{415, 200}},
		"an urlencoded form":               {sized("Content-Type: application/x-www-form-urlencoded\r\n", "a=1&b="+smuggled) + smuggled, []int{415, 200}},
		"a body that is no order":          {sized(kind, smuggled) + smuggled, []int{400, 200}},
		"a form to the call for admins":    {strings.Replace(sized("Content-Type: multipart/form-data; boundary=X\r\n", form), "/orders", "/dead-letters/redrive", 1) + smuggled, []int{403, 200}},
		"a compressed body":                {sized(kind+"Content-Encoding: gzip\r\n", smuggled) + smuggled, []int{415, 200}},
		"the key in the header, its place": {head + "Idempotency-Key: in-its-place\r\n" + length + "\r\n" + order, []int{201}},

		// Two ways to say where the body ends, or one that is not clear.
		"length and chunks":                        {head + length + chunked + "\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"chunks and length":                        {head + chunked + length + "\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"length 0 and chunks":                      {head + chunked + "Content-Length: 0\r\n\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"space before the length's colon":          {head + "Content-Length : " + size + "\r\n\r\n" + order + smuggled, []int{400}},
		"tab before the length's colon":            {head + "Content-Length\t: " + size + "\r\n\r\n" + order + smuggled, []int{400}},
		"space before the coding's colon":          {head + length + "Transfer-Encoding : chunked\r\n\r\n" + order + smuggled, []int{400}},
		"two lengths":                              {head + length + "Content-Length: 0\r\n\r\n" + order + smuggled, []int{400}},
		"two equal lengths":                        {head + length + length + "\r\n" + order + smuggled, []int{400}},
		"a list of lengths":                        {head + "Content-Length: " + size + ", " + size + "\r\n\r\n" + order + smuggled, []int{400}},
		"a length with a sign":                     {head + "Content-Length: +" + size + "\r\n\r\n" + order + smuggled, []int{400}},
		"a negative length":                        {head + "Content-Length: -" + size + "\r\n\r\n" + order + smuggled, []int{400}},
		"a length in hex":                          {head + "Content-Length: 0x10\r\n\r\n" + order + smuggled, []int{400}},
		"a length with a space in it":              {head + "Content-Length: 1 0\r\n\r\n" + order + smuggled, []int{400}},
		"a length of nothing":                      {head + "Content-Length: \r\n\r\n" + order + smuggled, []int{400}},
		"a length beyond all numbers":              {head + "Content-Length: 99999999999999999999999999\r\n\r\n" + order + smuggled, []int{400}},
		"a length that wraps around":               {head + "Content-Length: 18446744073709551617\r\n\r\n" + order + smuggled, []int{400}},
		"two codings":                              {head + chunked + chunked + "\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"a list of codings":                        {head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"chunked twice":                            {head + "Transfer-Encoding: chunked, chunked\r\n\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"the coding identity":                      {head + length + "Transfer-Encoding: identity\r\n\r\n" + order + smuggled, []int{400}},
		"the coding identity alone":                {head + "Transfer-Encoding: identity\r\n\r\n" + order + smuggled, []int{400}},
		"a coding that looks like chunked":         {head + "Transfer-Encoding: \x0bchunked\r\n\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"a coding of nothing":                      {head + "Transfer-Encoding: \r\n\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"chunks in HTTP/1.0":                       {"POST /orders HTTP/1.0\r\n" + kind + chunked + "\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"chunks in HTTP/1.0 that is to go on":      {"POST /orders HTTP/1.0\r\nConnection: keep-alive\r\n" + kind + chunked + "\r\n" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"length and chunks in HTTP/1.0":            {"POST /orders HTTP/1.0\r\nConnection: keep-alive\r\n" + kind + length + chunked + "\r\n" + order + smuggled, []int{400}},
		"HTTP/0.9":                                 {"GET /queue\r\n\r\n" + smuggled, []int{400}},
		"HTTP/2":                                   {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + smuggled, []int{400}},
		"HTTP/1.10":                                {"GET /queue HTTP/1.10\r\n" + host + "\r\n" + smuggled, []int{400}},
		"http in small letters":                    {"GET /queue http/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a body longer than the limit":             {line + host + kind + "Content-Length: 99999999\r\n\r\n" + order + smuggled, []int{413}},
		"chunks longer than the limit":             {head + chunked + "\r\n5ffffff\r\n" + order + smuggled, []int{413}},
		"a body that breaks off":                   {head + "Content-Length: 9999\r\n\r\n" + order + smuggled, []int{400}},
		"an expectation that nobody can meet":      {head + length + "Expect: 200-ok\r\n\r\n" + order + smuggled, []int{417}},
		"an expectation and a body over the limit": {head + "Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n" + smuggled, []int{413}},

		// Chunks that two programs could read in two ways.
		"a chunk's size with a space":           {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", " \r\n", 1) + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size with a space before":    {head + chunked + "\r\n " + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size with a sign":            {head + chunked + "\r\n+" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size with 0x":                {head + chunked + "\r\n0x" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size of nothing":             {head + chunked + "\r\n\r\n" + order + "\r\n0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size beyond all numbers":     {head + chunked + "\r\n" + "10000000000000000" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size with an underscore":     {head + chunked + "\r\n0_" + chunk + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size ended by LF":            {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", "\n", 1) + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk's size ended by CR":            {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", "\r", 1) + "0\r\n\r\n" + smuggled, []int{400}},
		"an LF in a chunk's extension":          {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", ";\nx\r\n", 1) + "0\r\n\r\n" + smuggled, []int{400}},
		"a CR in a chunk's extension":           {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", ";\rx\r\n", 1) + "0\r\n\r\n" + smuggled, []int{400}},
		"a NUL in a chunk's extension":          {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", ";\x00\r\n", 1) + "0\r\n\r\n" + smuggled, []int{400}},
		"a chunk that is longer than its size":  {head + chunked + "\r\n2\r\n{}x\r\n0\r\n\r\n" + smuggled, []int{400}},
		"a chunk that is ended by LF":           {head + chunked + "\r\n2\r\n{}\n0\r\n\r\n" + smuggled, []int{400}},
		"a chunk that is ended by two bytes":    {head + chunked + "\r\n2\r\n{}XX0\r\n\r\n" + smuggled, []int{400}},
		"the last chunk ended by LF":            {head + chunked + "\r\n" + chunk + "0\n\r\n" + smuggled, []int{400}},
		"the last line ended by LF":             {head + chunked + "\r\n" + chunk + "0\r\n\n" + smuggled, []int{400}},
		"a trailer that is folded":              {head + chunked + "\r\n" + chunk + "0\r\nX: 1\r\n 2\r\n\r\n" + smuggled, []int{400}},
		"a trailer with a space":                {head + chunked + "\r\n" + chunk + "0\r\nX : 1\r\n\r\n" + smuggled, []int{400}},
		"a trailer without a colon":             {head + chunked + "\r\n" + chunk + "0\r\nX\r\n\r\n" + smuggled, []int{400}},
		"a trailer ended by LF":                 {head + chunked + "\r\n" + chunk + "0\r\nX: 1\n\r\n" + smuggled, []int{400}},
		"trailers without end":                  {head + chunked + "\r\n" + chunk + "0\r\n" + strings.Repeat("X: 1234567890\r\n", 2000) + "\r\n" + smuggled, []int{431}},
		"an extension without end":              {head + chunked + "\r\n" + strings.Replace(chunk, "\r\n", ";"+strings.Repeat("x", 20_000)+"\r\n", 1) + "0\r\n\r\n" + smuggled, []int{400}},
		"a length in a trailer":                 {head + chunked + "\r\n" + chunk + "0\r\nContent-Length: 5\r\n\r\n" + smuggled, []int{400}},
		"a coding in a trailer":                 {head + chunked + "\r\n" + chunk + "0\r\nTransfer-Encoding: chunked\r\n\r\n" + smuggled, []int{400}},
		"a token in a trailer":                  {head + chunked + "\r\n" + chunk + "0\r\nAuthorization: Bearer x\r\n\r\n" + smuggled, []int{400}},
		"a key in a trailer":                    {head + chunked + "\r\n" + chunk + "0\r\nIdempotency-Key: k\r\n\r\n" + smuggled, []int{400}},
		"a key in a trailer that is announced":  {head + "Trailer: Idempotency-Key\r\n" + chunked + "\r\n" + chunk + "0\r\nidempotency-key: k\r\n\r\n" + smuggled, []int{400}},
		"chunks that break off":                 {head + chunked + "\r\n" + chunk, []int{400}},
		"chunks that break off in the trailers": {head + chunked + "\r\n" + chunk + "0\r\nX: 1\r\n", []int{400}},

		// A head that two programs could read in two ways.
		"space before the key's colon":   {head + "Idempotency-Key : k\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"tab before the key's colon":     {head + "Idempotency-Key\t: k\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"space in a name":                {head + "Idempotency Key: k\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"space before a name":            {head + "X: 1\r\n Idempotency-Key: k\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"space before the first name":    {line + " Host: x\r\n" + kind + length + "\r\n" + order + smuggled, []int{400}},
		"a name of nothing":              {head + ": k\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a line without a colon":         {head + "nonsense\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a name that is not ASCII":       {head + "Idempotency-K\xc3\xa9y: k\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a folded line":                  {head + "X: 1\r\n\tContent-Length: 0\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a folded length":                {head + "Content-Length:\r\n " + size + "\r\n\r\n" + order + smuggled, []int{400}},
		"two keys":                       {head + "Idempotency-Key: a\r\nIdempotency-Key: b\r\n" + length + "\r\n" + order + smuggled, []int{422, 200}},
		"two keys of the same":           {head + "Idempotency-Key: a\r\nidempotency-key: a\r\n" + length + "\r\n" + order + smuggled, []int{422, 200}},
		"two kinds of body":              {head + "Content-Type: text/plain\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"two hosts":                      {line + host + "Host: y\r\n" + kind + length + "\r\n" + order + smuggled, []int{400}},
		"two hosts of the same":          {line + host + host + kind + length + "\r\n" + order + smuggled, []int{400}},
		"two hosts in HTTP/1.0":          {"POST /orders HTTP/1.0\r\n" + host + host + kind + length + "\r\n" + order + smuggled, []int{400}},
		"no host":                        {line + kind + length + "\r\n" + order + smuggled, []int{400}},
		"a host of nothing":              {line + "Host:\r\n" + kind + length + "\r\n" + order + smuggled, []int{400}},
		"a host that is none":            {line + "Host: x y\r\n" + kind + length + "\r\n" + order + smuggled, []int{400}},
		"a list of hosts":                {line + "Host: x,y\r\n" + kind + length + "\r\n" + order + smuggled, []int{400}},
		"a host with a path":             {line + "Host: x/y\r\n" + kind + length + "\r\n" + order + smuggled, []int{400}},
		"a host with a user":             {line + "Host: u@x\r\n" + kind + length + "\r\n" + order + smuggled, []int{400}},
		"lines ended by LF":              {strings.ReplaceAll(head+length+"\r\n", "\r\n", "\n") + order + smuggled, []int{400}},
		"the first line ended by LF":     {strings.Replace(head, "\r\n", "\n", 1) + length + "\r\n" + order + smuggled, []int{400}},
		"one line ended by LF":           {head + "X: 1\n" + length + "\r\n" + order + smuggled, []int{400}},
		"the head ended by LF":           {head + length + "\n" + order + smuggled, []int{400}},
		"a CR in a value":                {head + "X: 1\rContent-Length: 0\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a CR before the end of a line":  {head + "X: 1\r\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a NUL in a value":               {head + "X: \x00\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a NUL in a name":                {head + "X\x00: 1\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a NUL in the key":               {head + "Idempotency-Key: a\x00\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a control character in a value": {head + "X: \x7f\r\n" + length + "\r\n" + order + smuggled, []int{400}},
		"a head that breaks off":         {head + "X: 1", []int{400}},
		"a head without end":             {head + "X: " + strings.Repeat("x", 20_000) + "\r\n\r\n" + smuggled, []int{431}},
		"a target without end":           {"GET /" + strings.Repeat("x", 20_000) + " HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{431}},

		// Targets and methods.
		"two spaces before the target":   {"GET  /queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a tab before the target":        {"GET\t/queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a space in the target":          {"GET /que ue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a space after the version":      {"GET /queue HTTP/1.1 \r\n" + host + "\r\n" + smuggled, []int{400}},
		"a space before the method":      {" GET /queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a target without a slash":       {"GET queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a target that is a host":        {"GET x:80 HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a target with a NUL":            {"GET /queue\x00 HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a target with a fragment":       {"GET /queue#x HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a target with a host and slash": {"GET //x/queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a target whose path is a host":  {"GET //orders/queue?x=:// HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"the same, and then no path":     {"GET //orders?x=:// HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"the same, and nothing else":     {"GET // HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"the same with a user":           {"GET //u:p@orders/queue?x=:// HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"the same in HTTP/1.0":           {"GET //x/queue HTTP/1.0\r\n\r\n" + smuggled, []int{400}},
		"a target that ends as a URL":    {"GET /orders?x=://x/queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{422, 200}},
		"a path that looks like a URL":   {"GET /x://x/queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{404, 200}},
		"the same, in HTTP/1.0":          {"GET /x://x/queue HTTP/1.0\r\n\r\n" + smuggled, []int{404}},
		"a path that begins with a host": {"GET /\\x/queue?x=:// HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{404, 200}},
		"absolute form with two slashes": {"GET http://x//x/queue?x=:// HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{404, 200}},
		"absolute form without a path":   {"GET http://x HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{200, 200}},
		"the same with a query":          {"GET http://x?a=:// HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{200, 200}},
		"absolute form of another kind":  {"GET ftp://x/queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"absolute form without a host":   {"GET http:///queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"absolute form with a user":      {"GET http://u:p@x/queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"asterisk":                       {"GET * HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a tunnel":                       {"CONNECT x:80 HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"a method that is none":          {"G(T /queue HTTP/1.1\r\n" + host + "\r\n" + smuggled, []int{400}},
		"TLS":                            {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + smuggled, []int{400}},
	} {
		before := count(t, db, `select count(*) from orders`)
		all := s.exchange(t, test.request)
		if got := statuses(all); !slices.Equal(got, test.want) {
			t.Errorf("%s: answered %v, want %v", name, got, test.want)
			continue
		}
		if n := count(t, db, `select count(*) from orders`) - before; (n == 1) != slices.Contains(test.want, 201) {
			t.Errorf("%s: %d orders written", name, n)
		}
		for _, a := range all {
			if a.status >= 400 && (a.header.Get("Content-Type") != "application/problem+json" || a.header.Get("Connection") != "close" && len(all) == 1) {
				t.Errorf("%s: %d %v %s", name, a.status, a.header, a.body)
			}
		}
	}
}

func bytewise(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "1\r\n%s\r\n", s[i:i+1])
	}
	return b.String()
}
