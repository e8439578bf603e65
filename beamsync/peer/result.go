// SPDX-License-Identifier: LGPL-3.0-or-later

package peer

import (
	"context"
	"errors"
	"net"
	"os"
)

// ResultOf is the label of a wire request that got no reply.
func ResultOf(ctx context.Context, err error) string {
	if ctx.Err() != nil {
		return ResultCancelled
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return ResultUnsupported
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return ResultTimeout
	case errors.Is(err, net.ErrClosed):
		return resultGone
	}
	return ResultError
}

// The results of wire requests, a closed set of label values.
const (
	ResultOK          = "ok"          // all that was asked for
	ResultPartial     = "partial"     // some of it
	ResultEmpty       = "empty"       // nothing
	ResultInvalid     = "invalid"     // something that is wrong, or that was not requested
	ResultUnproved    = "unproved"    // a whole storage trie that is not the wanted one, see trie.UnprovedRangeError
	ResultTimeout     = "timeout"     // no reply in time
	resultGone        = "gone"        // the peer disconnected
	ResultUnsupported = "unsupported" // the peer does not speak the protocol
	ResultCancelled   = "cancelled"   // it is needed no longer, or its peer left
	ResultError       = "error"       // anything else
)

// The kinds of wire requests for the chain, in addition to those of package sched.
const (
	KindHeaders     = "headers"
	KindBodies      = "bodies"
	KindReceipts    = "receipts"
	KindAccessLists = "access_lists"
)

// The kinds of requests that the [Book] tells apart in addition to those.
const (
	KindState       = "state"        // trie nodes and codes
	KindRanges      = "ranges"       // leaves of subtrees
	KindSubtrees    = "subtrees"     // from other Sunbeam nodes
	KindWitnessKeys = "witness_keys" // what a block read
)
