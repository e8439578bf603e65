// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/node"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// lockedText is a log that several goroutines write.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestWrongSecretIsLogged: a consensus client with another secret is refused as often as it calls, and logged once a
// minute with the file that it should have read. One with the right secret still gets a WebSocket connection.
func TestWrongSecretIsLogged(t *testing.T) {
	log := new(lockedText)
	n := newFakeNode(t, func(cfg *Config, _ *Backend) {
		cfg.Auth = Auth{Enabled: true, Host: "127.0.0.1", JWTFile: filepath.Join(t.TempDir(), "jwt")}
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	stop := n.start(t)
	if !strings.Contains(log.String(), "Made a JWT secret") {
		t.Errorf("nothing is said about the new secret: %s", log)
	}
	for _, token := range []string{"", "Bearer a.b.c", "Bearer x"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+n.Addrs().Auth, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusUnauthorized {
			t.Errorf("token %q: status %d, %v", token, response.StatusCode, err)
		}
	}
	if lines := strings.Count(log.String(), "Refused Engine API calls"); lines != 1 || !strings.Contains(log.String(), "missing token") || !strings.Contains(log.String(), n.cfg.Auth.JWTFile) {
		t.Errorf("%d lines: %s", lines, log)
	}
	secret, err := readJWTSecret(n.cfg.Auth.JWTFile)
	if err != nil {
		t.Fatal(err)
	}
	client, err := gethrpc.DialOptions(t.Context(), "ws://"+n.Addrs().Auth, gethrpc.WithHTTPAuth(node.NewJWTAuth([32]byte(secret))))
	if err != nil {
		t.Fatal(err)
	}
	client.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
}
