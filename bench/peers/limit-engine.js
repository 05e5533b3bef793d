/** The rows of reads of what is no engine but a limit: it finds, scans and seeks, and has nothing to open or settle. */
export function readsOf(store) {
  return {
    version: '–',
    async get(key) {
      return store.find(key)
    },
    getSync: (key) => store.find(key),
    async getMany(keys) {
      return keys.map((key) => store.find(key))
    },
    scan: () => store.scan(),
    seek: (key, count) => store.seek(key, count),
    settle() {},
    close() {},
  }
}
