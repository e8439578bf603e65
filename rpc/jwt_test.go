// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

func TestJWTSecret(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "jwt")
	made, err := ObtainJWTSecret(path)
	if err != nil || len(made) != 32 {
		t.Fatalf("%x, %v", made, err)
	}
	text, _ := os.ReadFile(path)
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 || string(text) != hexutil.Encode(made) {
		t.Errorf("mode %v, %s", info.Mode(), text)
	}
	if again, err := ObtainJWTSecret(path); err != nil || string(again) != string(made) {
		t.Errorf("%x, %v", again, err)
	}
	for content, ok := range map[string]bool{
		strings.Repeat("ab", 32):          true,
		strings.Repeat("AB", 32) + "\n":   true,
		"0x" + strings.Repeat("ab", 32):   true,
		strings.Repeat("ab", 31):          false,
		strings.Repeat("ab", 33):          false,
		"0x" + strings.Repeat("zz", 32):   false,
		"":                                false,
		strings.Repeat("ab", 32) + " zzz": false,
	} {
		bad := filepath.Join(dir, "other")
		if err := os.WriteFile(bad, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ObtainJWTSecret(bad)
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", content, err)
		}
		if !ok { // NewServer checks the file too
			_, err := NewServer(Config{Auth: Auth{Enabled: true, JWTFile: bad}}, Backend{Chain: newFakeChain()})
			if err == nil || !strings.Contains(err.Error(), bad) {
				t.Errorf("%q: NewServer: %v", content, err)
			}
		}
	}
	if _, err := ObtainJWTSecret(filepath.Join(dir, "no", "such")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
