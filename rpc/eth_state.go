package rpc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Limits of go-ethereum's internal/ethapi: storage keys in one request.
const (
	maxProofKeys    = 1024
	maxStorageSlots = 1024
)

// stateAPI is the part of the eth namespace that reads accounts. Every method is one
// readState.
type stateAPI struct{ b *backend }

// GetBalance returns the balance of an account in wei.
func (api *stateAPI) GetBalance(ctx context.Context, address common.Address, at *gethrpc.BlockNumberOrHash) (*hexutil.Big, error) {
	return readState(ctx, api.b, at, func(_ context.Context, v *view) (*hexutil.Big, error) {
		return (*hexutil.Big)(v.state.GetBalance(address).ToBig()), nil
	})
}

// GetTransactionCount returns the nonce of an account; for pending, on top of its pooled
// transactions that can be executed.
func (api *stateAPI) GetTransactionCount(ctx context.Context, address common.Address, at *gethrpc.BlockNumberOrHash) (*hexutil.Uint64, error) {
	latest := orLatest(at)
	if number, ok := latest.Number(); ok && number == gethrpc.PendingBlockNumber && api.b.Pool != nil {
		nonce, err := withPool(ctx, api.b, func(ctx context.Context) (uint64, error) { return api.b.Pool.Nonce(ctx, address) })
		if err != nil {
			return nil, err
		}
		return (*hexutil.Uint64)(&nonce), nil
	}
	return readState(ctx, api.b, at, func(_ context.Context, v *view) (*hexutil.Uint64, error) {
		nonce := hexutil.Uint64(v.state.GetNonce(address))
		return &nonce, nil
	})
}

// GetCode returns the code of an account.
func (api *stateAPI) GetCode(ctx context.Context, address common.Address, at *gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	return readState(ctx, api.b, at, func(_ context.Context, v *view) (hexutil.Bytes, error) {
		return v.state.GetCode(address), nil
	})
}

// GetStorageAt returns one slot, always 32 bytes.
func (api *stateAPI) GetStorageAt(ctx context.Context, address common.Address, hexKey string, at *gethrpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	key, _, err := decodeStorageKey(hexKey)
	if err != nil {
		return nil, invalidParams("%v: %q", err, hexKey)
	}
	return readState(ctx, api.b, at, func(_ context.Context, v *view) (hexutil.Bytes, error) {
		value := v.state.GetState(address, key)
		return value[:], nil
	})
}

// GetStorageValues returns many slots of many accounts.
func (api *stateAPI) GetStorageValues(ctx context.Context, requests map[common.Address][]common.Hash, at *gethrpc.BlockNumberOrHash) (map[common.Address][]hexutil.Bytes, error) {
	slots := 0
	for _, keys := range requests {
		slots += len(keys)
	}
	switch {
	case slots > maxStorageSlots:
		return nil, &codedError{codeClientLimit, fmt.Sprintf("too many slots (max %d)", maxStorageSlots)}
	case slots == 0:
		return nil, invalidParams("empty request")
	}
	return readState(ctx, api.b, at, func(_ context.Context, v *view) (map[common.Address][]hexutil.Bytes, error) {
		result := make(map[common.Address][]hexutil.Bytes, len(requests))
		for address, keys := range requests {
			values := make([]hexutil.Bytes, len(keys))
			for i, key := range keys {
				value := v.state.GetState(address, key)
				values[i] = value[:]
			}
			result[address] = values
		}
		return result, nil
	})
}

// accountResult is the answer of eth_getProof (EIP-1186).
type accountResult struct {
	Address      common.Address  `json:"address"`
	AccountProof []string        `json:"accountProof"`
	Balance      *hexutil.Big    `json:"balance"`
	CodeHash     common.Hash     `json:"codeHash"`
	Nonce        hexutil.Uint64  `json:"nonce"`
	StorageHash  common.Hash     `json:"storageHash"`
	StorageProof []storageResult `json:"storageProof"`
}

type storageResult struct {
	Key   string       `json:"key"`
	Value *hexutil.Big `json:"value"`
	Proof []string     `json:"proof"`
}

// proofKey is a storage key as the caller wrote it, which decides how it is written back.
type proofKey struct {
	hash   common.Hash
	length int // bytes
}

// String is the key as 32 bytes if it came so, as a quantity otherwise.
func (k proofKey) String() string {
	if k.length == common.HashLength {
		return hexutil.Encode(k.hash[:])
	}
	return hexutil.EncodeBig(k.hash.Big())
}

// GetProof returns an account with the trie nodes that prove it, and slots with theirs.
func (api *stateAPI) GetProof(ctx context.Context, address common.Address, storageKeys []string, at *gethrpc.BlockNumberOrHash) (*accountResult, error) {
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
	return readState(ctx, api.b, at, func(ctx context.Context, v *view) (*accountResult, error) {
		return proveAccount(ctx, v, address, keys)
	})
}

func proveAccount(ctx context.Context, v *view, address common.Address, keys []proofKey) (*accountResult, error) {
	result := &accountResult{
		Address:      address,
		Balance:      (*hexutil.Big)(v.state.GetBalance(address).ToBig()),
		CodeHash:     v.state.GetCodeHash(address),
		Nonce:        hexutil.Uint64(v.state.GetNonce(address)),
		StorageHash:  v.state.GetStorageRoot(address),
		StorageProof: make([]storageResult, len(keys)),
	}
	accounts, err := v.db.OpenTrie(v.header.Root)
	if err != nil {
		return nil, err
	}
	if result.AccountProof, err = prove(accounts, address.Bytes()); err != nil {
		return nil, err
	}
	var slots state.Trie
	if len(keys) > 0 && result.StorageHash != types.EmptyRootHash && result.StorageHash != (common.Hash{}) {
		if slots, err = v.db.OpenStorageTrie(v.header.Root, address, result.StorageHash, accounts); err != nil {
			return nil, err
		}
	}
	for i, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		entry := storageResult{Key: key.String(), Value: new(hexutil.Big), Proof: []string{}}
		if slots != nil {
			if entry.Proof, err = prove(slots, key.hash.Bytes()); err != nil {
				return nil, err
			}
			entry.Value = (*hexutil.Big)(v.state.GetState(address, key.hash).Big())
		}
		result.StorageProof[i] = entry
	}
	return result, nil
}

// prove returns the nodes from the root towards the hash of key, in hex.
func prove(tr state.Trie, key []byte) ([]string, error) {
	var proof proofList
	if err := tr.Prove(crypto.Keccak256(key), &proof); err != nil {
		return nil, err
	}
	return proof, nil
}

// proofList collects the nodes of a proof in the order in which they are found.
type proofList []string

func (p *proofList) Put(_, value []byte) error {
	*p = append(*p, hexutil.Encode(value))
	return nil
}

func (p *proofList) Delete([]byte) error { return errors.ErrUnsupported }

// decodeStorageKey reads up to 32 bytes of hex, with or without 0x, and says how many
// there were.
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
