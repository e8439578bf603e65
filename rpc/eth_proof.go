// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// maxProofKeys is the number of storage keys in one eth_getProof, as in go-ethereum.
const maxProofKeys = 1024

// accountProof is the result of eth_getProof: an account, its slots, and the trie nodes from the root
// to each of them (EIP-1186).
type accountProof struct {
	Address     common.Address `json:"address"`
	Nodes       proofNodes     `json:"accountProof"`
	Balance     *hexutil.Big   `json:"balance"`
	CodeHash    common.Hash    `json:"codeHash"`
	Nonce       hexutil.Uint64 `json:"nonce"`
	StorageRoot common.Hash    `json:"storageHash"`
	Slots       []slotProof    `json:"storageProof"`
}

type slotProof struct {
	Key   string       `json:"key"`
	Value *hexutil.Big `json:"value"`
	Nodes proofNodes   `json:"proof"`
}

// proofKey is a storage key with its length in the request, which decides how the result shows it.
type proofKey struct {
	hash   common.Hash
	length int // bytes
}

// String is the key as 32 bytes if the request had 32, else as a quantity.
func (k proofKey) String() string {
	if k.length == common.HashLength {
		return hexutil.Encode(k.hash[:])
	}
	return hexutil.EncodeBig(k.hash.Big())
}

// GetProof returns an account and slots of it, with their proofs.
func (api *stateAPI) GetProof(ctx context.Context, address common.Address, storageKeys []string, at *gethrpc.BlockNumberOrHash) (*accountProof, error) {
	if len(storageKeys) > maxProofKeys {
		return nil, invalidParams("too many storage keys requested (max %d, got %d)", maxProofKeys, len(storageKeys))
	}
	keys := make([]proofKey, len(storageKeys))
	for i, hexKey := range storageKeys {
		var err error
		if keys[i].hash, keys[i].length, err = decodeStorageKey(hexKey); err != nil {
			return nil, invalidParams("%v: %q", err, hexKey)
		}
	}
	if err := api.b.refusePending(orLatest(at)); err != nil {
		return nil, err
	}
	return readState(ctx, api.b, at, func(ctx context.Context, v *stateView) (*accountProof, error) {
		return proveAccount(ctx, v, address, keys)
	})
}

func proveAccount(ctx context.Context, v *stateView, address common.Address, keys []proofKey) (*accountProof, error) {
	result := &accountProof{
		Address:     address,
		Balance:     (*hexutil.Big)(v.state.GetBalance(address).ToBig()),
		CodeHash:    v.state.GetCodeHash(address),
		Nonce:       hexutil.Uint64(v.state.GetNonce(address)),
		StorageRoot: v.state.GetStorageRoot(address),
		Slots:       make([]slotProof, len(keys)),
	}
	accounts, err := v.db.OpenTrie(v.header.Root)
	if err != nil {
		return nil, err
	}
	if result.Nodes, err = prove(accounts, address.Bytes()); err != nil {
		return nil, err
	}
	var slots state.Trie
	if len(keys) > 0 && result.StorageRoot != types.EmptyRootHash && result.StorageRoot != (common.Hash{}) {
		if slots, err = v.db.OpenStorageTrie(v.header.Root, address, result.StorageRoot, accounts); err != nil {
			return nil, err
		}
	}
	for i, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		v.turn.yield()
		entry := slotProof{Key: key.String(), Value: new(hexutil.Big), Nodes: proofNodes{}}
		if slots != nil {
			if entry.Nodes, err = prove(slots, key.hash.Bytes()); err != nil {
				return nil, err
			}
			entry.Value = (*hexutil.Big)(v.state.GetState(address, key.hash).Big())
		}
		result.Slots[i] = entry
	}
	return result, nil
}

// prove returns the proof of a key that is present or absent.
func prove(tr state.Trie, key []byte) (proofNodes, error) {
	var proof proofNodes
	if err := tr.Prove(crypto.Keccak256(key), &proof); err != nil {
		return nil, err
	}
	return proof, nil
}

// proofNodes are the trie nodes from the root towards a key, in hex. They are the writer that Trie.Prove takes.
type proofNodes []string

func (p *proofNodes) Put(_, value []byte) error {
	*p = append(*p, hexutil.Encode(value))
	return nil
}

func (p *proofNodes) Delete([]byte) error { return errors.ErrUnsupported }

// decodeStorageKey decodes up to 32 bytes of hex, with or without 0x, and returns their number too.
func decodeStorageKey(s string) (common.Hash, int, error) {
	if strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X") {
		s = s[2:]
	}
	if len(s)&1 > 0 {
		s = "0" + s
	}
	if len(s) > 2*common.HashLength {
		return common.Hash{}, 0, errors.New("storage key too long (want at most 32 bytes)")
	}
	key, err := hex.DecodeString(s)
	if err != nil {
		return common.Hash{}, 0, errors.New("invalid hex in storage key")
	}
	return common.BytesToHash(key), len(key), nil
}
