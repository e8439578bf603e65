// SPDX-License-Identifier: LGPL-3.0-or-later

package health

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHandler compares whole answers: scripts read them.
func TestHandler(t *testing.T) {
	ready := Report{Head: 7, Target: 7}
	ready.Add("head", "")
	behind := Report{Head: 3, Target: 9, Live: "import: no progress for 2m0s"}
	behind.Add("head", "the head is 6 blocks behind")
	behind.Add("disk", "")
	behind.Add("client", "silent")
	for _, test := range []struct {
		report Report
		path   string
		status int
		body   string
	}{
		{ready, LivePath, http.StatusOK, `{"live":true}`},
		{ready, ReadyPath, http.StatusOK, `{"ready":true,"head":7,"target":7,"checks":{"head":{"ok":true}}}`},
		{behind, LivePath, http.StatusServiceUnavailable, `{"live":false,"reason":"import: no progress for 2m0s"}`},
		{behind, ReadyPath, http.StatusServiceUnavailable, `{"ready":false,"reason":"the head is 6 blocks behind","head":3,"target":9,` +
			`"checks":{"client":{"ok":false,"reason":"silent"},"disk":{"ok":true},"head":{"ok":false,"reason":"the head is 6 blocks behind"}}}`},
	} {
		recorder := httptest.NewRecorder()
		request := httptest.NewRequest(http.MethodGet, test.path, nil)
		Handler(func() Report { return test.report }).ServeHTTP(recorder, request)
		if body := strings.TrimSpace(recorder.Body.String()); !Asks(request) || recorder.Code != test.status || body != test.body {
			t.Errorf("%s: %d %s", test.path, recorder.Code, body)
		}
	}
	for _, other := range []*http.Request{httptest.NewRequest(http.MethodPost, ReadyPath, nil), httptest.NewRequest(http.MethodGet, "/", nil)} {
		if Asks(other) {
			t.Errorf("%s %s is taken for a question", other.Method, other.URL)
		}
	}
}
