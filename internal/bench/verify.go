package bench

import (
	"errors"

	"github.com/ethereum/go-ethereum/common"
)

// VerifyState traverses the whole state in a chaindata that nobody uses, node by node and hash by
// hash. It returns its root and what was found; it fails if the state is not complete, or something is there
// that does not belong to it.
func VerifyState(chaindata string) (root common.Hash, found string, err error) {
	v, err := verify(chaindata)
	if err == nil && !v.sound {
		err = errors.New(v.String())
	}
	return v.Root, v.String(), err
}
