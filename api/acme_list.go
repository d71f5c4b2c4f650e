package api

import (
	"context"

	"github.com/certwright/certwright/inventory/filter"
)

// listing is what a request for a page says.
type listing struct {
	size   int32
	token  string
	filter string
	kind   string // ties the page token to what is listed
}

// maxScan is how many rows are read for one page.
const maxScan = 5000

// ofOwner is the row of a message that the caller may see; of any other there is
// none.
func ofOwner[M any](ctx context.Context, row func(M) filter.Row, owner func(M) string) func(M) filter.Row {
	v := callOf(ctx).view
	return func(m M) filter.Row {
		if !v.sees(owner(m)) {
			return nil
		}
		return row(m)
	}
}

// scan reads pages of rows from where the token says until size of them match the
// filter, there are no more, or maxScan were read; then the page may be short or
// empty, and its token leads on.
func scan[T, M any](ctx context.Context, l listing, fields []filter.Field,
	read func(ctx context.Context, after []byte, limit int) ([]T, []byte, error), message func(T) M, row func(M) filter.Row,
) (out []M, next string, err error) {
	size, err := pageSize(l.size)
	if err != nil {
		return nil, "", err
	}
	f, err := filter.Compile(l.filter, fields)
	if err != nil {
		return nil, "", err
	}
	after, err := filter.ParsePageToken(l.token, l.kind, l.filter)
	if err != nil {
		return nil, "", err
	}
	for scanned := 0; ; {
		// No more than there is room for: the place to go on from is the store's.
		page, rest, err := read(ctx, after, size-len(out))
		if err != nil {
			return nil, "", err
		}
		for _, each := range page {
			m := message(each)
			if r := row(m); r != nil && f.Match(r) {
				out = append(out, m)
			}
		}
		scanned += len(page)
		after = rest
		if after == nil || len(out) == size || scanned >= maxScan {
			return out, filter.PageToken(after, l.kind, l.filter), nil
		}
	}
}
