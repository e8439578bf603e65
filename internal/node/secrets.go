// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/sunbeam-eth/sunbeam/config"
	"github.com/sunbeam-eth/sunbeam/internal/atomicfile"
)

// nodeKey reads the key of our node ID. The file in the datadir is created if it is missing, and replaced if a power
// cut left it incomplete. A file that the configuration names is never written.
func (n *Node) nodeKey() (*ecdsa.PrivateKey, error) {
	if n.cfg.P2P.NodeKeyHex != "" {
		return crypto.HexToECDSA(n.cfg.P2P.NodeKeyHex)
	}
	path := n.cfg.NodeKeyFile()
	key, err := crypto.LoadECDSA(path)
	if err == nil {
		return key, nil
	}
	torn := config.TornSecret(path)
	if n.cfg.P2P.NodeKey != "" || !torn && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("node key %s: %w", path, err)
	}
	if key, err = crypto.GenerateKey(); err != nil {
		return nil, fmt.Errorf("make node key: %w", err)
	}
	if err := atomicfile.Write(path, []byte(hex.EncodeToString(crypto.FromECDSA(key)))); err != nil {
		return nil, fmt.Errorf("keep node key: %w", err)
	}
	if torn {
		n.log.Warn("Node key file was incomplete, made a new key: the node ID has changed", "file", path)
	}
	return key, nil
}

// removeTornJWTSecret makes room for a new JWT secret if a power cut left the one in the datadir incomplete. A file that the
// configuration names is never removed.
func (n *Node) removeTornJWTSecret() error {
	path := n.cfg.JWTFile()
	if n.cfg.Engine.JWTSecret != "" || !config.TornSecret(path) {
		return nil
	}
	n.log.Warn("JWT secret file was incomplete, making a new secret: the consensus client must read it again", "file", path)
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("replace the incomplete JWT secret: %w", err)
	}
	return nil
}
