package boltstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/tlsrpt/report"
	"github.com/mxseal/mxseal/tlsrpt/reporter"
)

// The versions of the file. Version 1 has all sums of a domain and day in one record, and
// a list of the free pages.
const (
	schema       = 2
	oldestSchema = 1
)

// formerDays is the bucket of the sums in version 1.
var formerDays = []byte("tlsrpt-days")

// errNotUpgraded is the error of Reports in a file of an older version that cannot be
// written.
var errNotUpgraded = errors.New("the sums of TLS reports are in the form of an older version, and the file cannot be written")

// errUpgrade means that an older file could not be upgraded. Its policies can be read.
var errUpgrade = errors.New("the upgrade failed")

// checkSchema checks that this package can read the file.
func checkSchema(tx *bolt.Tx) error {
	_, err := schemaOf(tx)
	return err
}

// schemaOf returns the version of the file.
func schemaOf(tx *bolt.Tx) (int, error) {
	b := tx.Bucket(meta)
	if b == nil || tx.Bucket(policies) == nil {
		return 0, fmt.Errorf("%w: it is not a database of this package", ErrDamaged)
	}
	value := b.Get(schemaKey)
	version, err := strconv.Atoi(string(value))
	if err != nil || version < oldestSchema {
		return 0, fmt.Errorf("%w: its version is %q, which no release has written", ErrDamaged, value)
	}
	if version > schema {
		return 0, fmt.Errorf("%w: its version is %q, and this release reads versions %d to %d", ErrSchema, value, oldestSchema, schema)
	}
	return version, nil
}

// upgradeStep is how many sums one transaction upgrades.
const upgradeStep = 512

// upgrade brings an older file to the current version, in several transactions, so that
// its size does not matter. If it is interrupted, it continues the next time. An older
// release cannot open the file from the first transaction on.
func upgrade(db *database, path string, logger *slog.Logger) error {
	version := 0
	err := db.view(func(tx *bolt.Tx) (err error) {
		if version, err = schemaOf(tx); err == nil && tx.Bucket(formerDays) != nil {
			version = oldestSchema
		}
		return err
	})
	if err != nil || version == schema {
		return err
	}
	logger.LogAttrs(context.Background(), slog.LevelInfo, "boltstore: the file is upgraded; older releases can no longer open it",
		slog.String("file", path), slog.Int("version", schema))
	err = db.update(func(tx *bolt.Tx) error { return writeSchema(tx.Bucket(meta)) })
	for more := true; more && err == nil; {
		err = db.update(func(tx *bolt.Tx) (err error) {
			more, err = upgradeSome(tx, path, logger)
			return err
		})
	}
	return err
}

func writeSchema(meta *bolt.Bucket) error { return meta.Put(schemaKey, []byte(strconv.Itoa(schema))) }

// upgradeSome upgrades some sums, and reports whether there are more.
func upgradeSome(tx *bolt.Tx, path string, logger *slog.Logger) (more bool, err error) {
	former := tx.Bucket(formerDays)
	if former == nil {
		return false, nil
	}
	key, _ := former.Cursor().First()
	if key == nil {
		return false, tx.DeleteBucket(formerDays)
	}
	key = slices.Clone(key)
	from := former.Bucket(key)
	to, err := createDay(tx, dayOf(string(key)))
	if err != nil {
		return false, err
	}
	var domains []string
	var records []formerSums
	err = ascend(from.Cursor(), nil, func(k, v []byte) bool {
		domains, records = append(domains, string(k)), append(records, decodeFormer(string(k), v))
		return len(domains) < upgradeStep
	})
	for i, domain := range domains {
		if records[i].ended == endedUnknown {
			logger.LogAttrs(context.Background(), slog.LevelError, "boltstore: damaged sums of TLS reports are not upgraded",
				slog.String("file", path), slog.String("domain", domain))
		}
		err = errors.Join(err, records[i].write(to, domain), from.Delete([]byte(domain)))
	}
	if err == nil && len(domains) < upgradeStep {
		err = former.DeleteBucket(key)
	}
	return true, err
}

// formerSums is a record of version 1: a checksum of four octets, the number of ended
// parts, the number and length of the sealed part, the results of the sealed part, and
// those of the open part. The results are JSON.
type formerSums struct {
	ended, number uint64
	sealed, open  []report.PolicyResult
}

// decodeFormer decodes a record. If it is damaged, the number of ended parts is unknown
// and there are no results.
func decodeFormer(domain string, value []byte) formerSums {
	damaged := formerSums{ended: endedUnknown}
	d := unseal([]byte(domain), value)
	s := formerSums{ended: d.number(), number: d.number()}
	sealed := d.String()
	for _, part := range []struct {
		text    string
		results *[]report.PolicyResult
	}{{sealed, &s.sealed}, {d.Rest, &s.open}} {
		if d.Damaged || part.text != "" && json.Unmarshal([]byte(part.text), part.results) != nil {
			return damaged
		}
	}
	return s
}

// write writes the sums in the form of this version.
func (f *formerSums) write(to *bolt.Bucket, domain string) error {
	s := &domainSums{cursor: to.Cursor(), domain: domain}
	for _, part := range []struct {
		results []report.PolicyResult
		sealed  bool
	}{{f.sealed, true}, {f.open, false}} {
		s.ended = f.ended
		if part.sealed {
			s.ended = f.number - 1
		}
		if len(part.results) == 0 {
			continue
		}
		form := additionForm(reporter.MergeResults(domain, nil, part.results))
		if err := s.add([]string{form}, true); err != nil {
			return err
		}
		if part.sealed {
			s.seal()
		}
	}
	s.ended = f.ended
	return s.write()
}
