// Verifies one entry with its proof (C2SP tlog-proof) with Go's own implementation of notes and trees:
// verify_bundle LOG_KEY QUORUM FILE [WITNESS_KEY...]
package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

func field(line, name string) string {
	if !strings.HasPrefix(line, name+" ") {
		must(fmt.Errorf("%q is no line of %s", line, name))
	}
	return line[len(name)+1:]
}

func main() {
	quorum, err := strconv.Atoi(os.Args[2])
	must(err)
	known, log := verifiers(os.Args[1], os.Args[4:])
	text, err := os.ReadFile(os.Args[3])
	must(err)
	head, checkpoint, _ := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		must(fmt.Errorf("it is no proof"))
	}
	entry, err := base64.StdEncoding.DecodeString(field(lines[1], "extra"))
	must(err)
	index, err := strconv.ParseInt(field(lines[2], "index"), 10, 64)
	must(err)
	if lines[2] != fmt.Sprintf("index %d", index) {
		must(fmt.Errorf("%q is not as numbers are written", lines[2]))
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		must(err)
		proof = append(proof, hash)
	}
	tree, vouching := readCheckpoint([]byte(checkpoint), known, log)
	askQuorum(vouching, quorum)
	must(tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry)))
	fmt.Printf("verified %d of %d %d\n%s\n", index, tree.N, vouching, entry)
}
