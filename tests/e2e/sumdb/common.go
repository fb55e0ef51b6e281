// What both programs share: keys, cosignatures and checkpoints.
package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "sumdb:", err)
		os.Exit(1)
	}
}

// witness is a note.Verifier of C2SP's timestamped cosignatures, which the package does not have.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 72 {
		return false
	}
	head := fmt.Sprintf("cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(sig))
	return ed25519.Verify(w.key, append([]byte(head), msg...), sig[8:])
}

func newWitness(vkey string) witness {
	parts := strings.SplitN(vkey, "+", 3)
	typed, err := base64.StdEncoding.DecodeString(parts[2])
	must(err)
	if len(typed) != 33 || typed[0] != 4 {
		must(fmt.Errorf("%s is no witness's key", vkey))
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), typed...))
	return witness{parts[0], binary.BigEndian.Uint32(sum[:]), typed[1:]}
}

func verifiers(log string, witnesses []string) (note.Verifiers, note.Verifier) {
	verifier, err := note.NewVerifier(log)
	must(err)
	all := []note.Verifier{verifier}
	for _, vkey := range witnesses {
		all = append(all, newWitness(vkey))
	}
	return note.VerifierList(all...), verifier
}

func askQuorum(vouching, quorum int) {
	if vouching < quorum {
		must(fmt.Errorf("%d witnesses vouch, %d are needed", vouching, quorum))
	}
}

func openCheckpoint(path string, known note.Verifiers, log note.Verifier) (tlog.Tree, int) {
	bytes, err := os.ReadFile(path)
	must(err)
	return readCheckpoint(bytes, known, log)
}

func readCheckpoint(bytes []byte, known note.Verifiers, log note.Verifier) (tlog.Tree, int) {
	n, err := note.Open(bytes, known)
	must(err)
	vouching, signed := 0, false
	for _, sig := range n.Sigs {
		if sig.Hash == log.KeyHash() {
			signed = true
		} else {
			vouching++
		}
	}
	if !signed {
		must(fmt.Errorf("it is not signed by the log"))
	}
	lines := strings.Split(n.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: root}, vouching
}
