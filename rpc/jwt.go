// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
)

// jwtSecretBytes is the size of a secret (execution-apis, src/engine/authentication.md).
const jwtSecretBytes = 32

// readJWTSecret reads a secret of 32 bytes in hex, with or without 0x. If the file does not exist the error
// is fs.ErrNotExist. Errors do not quote the content.
func readJWTSecret(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("JWT secret: %w", err)
	}
	digits := strings.TrimSpace(string(text))
	digits = strings.TrimPrefix(strings.TrimPrefix(digits, "0x"), "0X")
	secret, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("JWT secret file %s: not hexadecimal, want %d hex digits", path, 2*jwtSecretBytes)
	}
	if len(secret) != jwtSecretBytes {
		return nil, fmt.Errorf("JWT secret file %s: %d bytes, want %d", path, len(secret), jwtSecretBytes)
	}
	return secret, nil
}

// ObtainJWTSecret reads the secret from a file. If the file does not exist it creates one with a random
// secret, mode 0600.
func ObtainJWTSecret(path string) ([]byte, error) {
	secret, err := readJWTSecret(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	secret = make([]byte, jwtSecretBytes)
	if _, err := rand.Read(secret); err != nil {
		return nil, fmt.Errorf("JWT secret: %w", err)
	}
	err = atomicfile.Create(path, []byte("0x"+hex.EncodeToString(secret)))
	if errors.Is(err, fs.ErrExist) { // another process was faster
		return readJWTSecret(path)
	}
	if err != nil {
		return nil, fmt.Errorf("JWT secret: %w", err)
	}
	return secret, nil
}
