package api

import (
	"context"
	"encoding/hex"

	"github.com/certwright/certwright/crl"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
)

// crlService implements certwright.v1.CRLService.
type crlService struct {
	certwrightv1.UnimplementedCRLServiceServer
	*Server
}

// ListCRLs implements certwright.v1.CRLService.
func (s *crlService) ListCRLs(_ context.Context, in *certwrightv1.ListCRLsRequest) (*certwrightv1.ListCRLsResponse, error) {
	size, err := pageSize(in.GetPageSize())
	if err != nil {
		return nil, err
	}
	skip, err := parseOffset(in.GetPageToken(), "crls")
	if err != nil {
		return nil, err
	}
	page, next := offsetPage(s.config.CRLs.Lists(), skip, size, "crls")
	return &certwrightv1.ListCRLsResponse{Crls: crlMessages(page), NextPageToken: next}, nil
}

// PublishCRLs implements certwright.v1.CRLService.
func (s *crlService) PublishCRLs(ctx context.Context, in *certwrightv1.PublishCRLsRequest) (*certwrightv1.PublishCRLsResponse, error) {
	lists, err := s.config.CRLs.Publish(ctx, in.GetIssuer(), in.GetShard(), callOf(ctx).principal.String())
	if err != nil {
		return nil, err
	}
	return &certwrightv1.PublishCRLsResponse{Crls: crlMessages(lists)}, nil
}

func crlMessages(lists []crl.Info) []*certwrightv1.CRL {
	var out []*certwrightv1.CRL
	for _, i := range lists {
		m := &certwrightv1.CRL{
			Issuer: i.Issuer, Shard: i.Shard, Path: i.Path, Number: i.Number, Pending: i.Pending, TooLong: i.TooLong, Error: clean(i.Error),
		}
		if i.Number > 0 {
			m.ThisUpdate, m.NextUpdate = timestamp(i.ThisUpdate), timestamp(i.NextUpdate)
			m.Entries, m.Size, m.Sha256 = uint64(i.Entries), uint64(i.Size), hex.EncodeToString(i.SHA256[:])
		}
		out = append(out, m)
	}
	return out
}
