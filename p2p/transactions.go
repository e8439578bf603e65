// SPDX-License-Identifier: LGPL-3.0-or-later

package p2p

import (
	"context"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/eth/protocols/eth"
	"github.com/ethereum/go-ethereum/rlp"
)

// Messages about pooled transactions (devp2p, eth.md).

// SendTransactions broadcasts transactions. Blob transactions must not be broadcast (EIP-4844).
func (p *Peer) SendTransactions(ctx context.Context, txs []*types.Transaction) error {
	return p.write(ctx, msgTransactions, txs)
}

// AnnounceTransactions announces pooled transactions: types, sizes (bytes, network encoding) and
// hashes, lists of one length. Over eth/66 it sends only the hashes.
func (p *Peer) AnnounceTransactions(ctx context.Context, kinds []byte, sizes []uint32, hashes []common.Hash) error {
	if p.link.Version == eth66 {
		return p.write(ctx, msgPooledHashes, hashes)
	}
	return p.write(ctx, msgPooledHashes, &eth.NewPooledTransactionHashesPacket71{Types: kinds, Sizes: sizes, Hashes: hashes})
}

// PooledTransactions requests transactions that the peer announced. The reply omits missing
// ones. Blob transactions have a sidecar whose commitments match their hashes; the pool verifies
// its proofs.
func (p *Peer) PooledTransactions(ctx context.Context, hashes []common.Hash) ([]*types.Transaction, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	txs, err := queryList[*types.Transaction](ctx, p, msgGetPooledTransactions, msgPooledTransactions, len(hashes), func(id uint64) any {
		return &eth.GetPooledTransactionsPacket{RequestId: id, GetPooledTransactionsRequest: hashes}
	})
	if err != nil {
		return nil, err
	}
	return txs, p.checkTransactions(msgPooledTransactions, txs, checkSidecar)
}

// checkTransactions disconnects the peer for a duplicate or for a transaction that check
// rejects.
func (p *Peer) checkTransactions(msg message, txs []*types.Transaction, check func(*types.Transaction) error) error {
	seen := make(map[common.Hash]struct{}, len(txs))
	for _, tx := range txs {
		err := check(tx)
		if _, twice := seen[tx.Hash()]; twice && err == nil {
			err = errors.New("duplicate")
		}
		if err != nil {
			return p.disconnect(KindInvalid, fmt.Errorf("%s: transaction %x: %w", msg, tx.Hash(), err))
		}
		seen[tx.Hash()] = struct{}{}
	}
	return nil
}

func checkSidecar(tx *types.Transaction) error {
	if tx.Type() != types.BlobTxType {
		return nil
	}
	sidecar := tx.BlobTxSidecar()
	if sidecar == nil {
		return errors.New("blob transaction without sidecar")
	}
	if len(sidecar.Blobs) != len(tx.BlobHashes()) {
		return fmt.Errorf("%d blobs for %d hashes", len(sidecar.Blobs), len(tx.BlobHashes()))
	}
	return sidecar.ValidateBlobCommitmentHashes(tx.BlobHashes())
}

func checkWithoutBlobs(tx *types.Transaction) error {
	if tx.Type() == types.BlobTxType {
		return errors.New("broadcast blob transaction")
	}
	return nil
}

// gossip handles broadcast and announced transactions.
func (p *Peer) gossip(in incoming) error {
	if in.msg == msgTransactions {
		return p.transactions(in.payload)
	}
	if p.link.Version == eth66 {
		return p.announced66(in)
	}
	ann, err := decode[eth.NewPooledTransactionHashesPacket71](p, in.msg, in.payload)
	if err != nil {
		return err
	}
	if len(ann.Types) != len(ann.Hashes) || len(ann.Sizes) != len(ann.Hashes) {
		return p.disconnect(KindInvalid, fmt.Errorf("%s: %d hashes, %d types, %d sizes", in.msg, len(ann.Hashes), len(ann.Types), len(ann.Sizes)))
	}
	if p.cfg.Transactions != nil {
		n := min(len(ann.Hashes), maxPooled)
		p.cfg.Transactions.Announced(p, ann.Types[:n], ann.Sizes[:n], ann.Hashes[:n])
	}
	return nil
}

func (p *Peer) transactions(payload []byte) error {
	var list rlp.RawList[*types.Transaction]
	if err := rlp.DecodeBytes(payload, &list); err != nil {
		return p.disconnect(KindMalformed, fmt.Errorf("%s: %w", msgTransactions, err))
	}
	txs, err := items(p, msgTransactions, &list, maxGossiped)
	if err != nil {
		return err
	}
	if err := p.checkTransactions(msgTransactions, txs, checkWithoutBlobs); err != nil {
		return err
	}
	if p.cfg.Transactions != nil {
		p.cfg.Transactions.Received(p, txs)
	}
	return nil
}

func (p *Peer) servePooledTransactions(query *eth.GetPooledTransactionsPacket) (any, error) {
	var out batch
	if p.cfg.Transactions != nil {
		for _, hash := range query.GetPooledTransactionsRequest[:min(maxPooled, len(query.GetPooledTransactionsRequest))] {
			if out.size >= softReplySize {
				break
			}
			if tx := p.cfg.Transactions.Pooled(hash); len(tx) > 0 && !out.add(tx) {
				break
			}
		}
	}
	return &eth.PooledTransactionsRLPPacket{RequestId: query.RequestId, PooledTransactionsRLPResponse: out.items}, nil
}
