package secret

import "os"

// Version tells apart what a file holds at different times, without reading it. Kubernetes and cert-manager put a new file in the old one's
// place, and so does a good program: then it is another inode. The zero value is that of no file.
type Version struct {
	info os.FileInfo // nil when there is none
}

// VersionOf is that of a file now; one that is gone is another version, and so is one that cannot be looked at.
func VersionOf(path string) Version {
	info, err := os.Stat(path)
	if err != nil {
		return Version{}
	}
	return Version{info}
}

// Equal tells whether nothing has changed.
func (v Version) Equal(other Version) bool {
	if v.info == nil || other.info == nil {
		return v.info == nil && other.info == nil
	}
	return os.SameFile(v.info, other.info) && v.info.Size() == other.info.Size() && v.info.ModTime().Equal(other.info.ModTime())
}
