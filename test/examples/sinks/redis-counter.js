// @ts-check
// A counter for each user in Redis: how many unread mails there are, `mail/<user>/<id>`, each put once and deleted
// when it is read. Adding is not repeatable, so counting and the position are one script: however often a change is
// delivered, and whatever crashes, it counts once. No transaction spans the store and Redis.

const APPLY = `
  local counters, position = KEYS[1], KEYS[2]
  local before, after = ARGV[1], ARGV[2]
  if after ~= '' then
    if (redis.call('GET', position) or '') ~= before then return 0 end
    redis.call('SET', position, after)
  end
  for i = 3, #ARGV, 2 do
    if ARGV[i + 1] == '0' then redis.call('HDEL', counters, ARGV[i])
    else redis.call('HINCRBY', counters, ARGV[i], ARGV[i + 1]) end
  end
  return 1`

export class RedisCounter {
  #client
  #name

  /** @param {import('redis').RedisClientType} client connected @param {string} name */
  constructor(client, name) {
    this.#client = client
    this.#name = name
  }

  async position() {
    const text = await this.#client.get(`${this.#name}:position`)
    return text === null ? undefined : Number(text)
  }

  async clear() {
    await this.#client.del([`${this.#name}:position`, this.#name])
  }

  /**
   * @param {readonly import('./changes.js').Change[]} changes
   * @param {number | undefined} before
   * @param {number | undefined} after
   */
  async apply(changes, before, after) {
    const steps = changes
      .flatMap(({ ops }) => ops)
      .flatMap((op) => {
        // All mails of a user read at once.
        const key = op.type === 'clear' ? (op.range.prefix ?? '') : op.key
        const [folder, user = ''] = key.split('/')
        if (folder !== 'mail') return []
        return [user, op.type === 'clear' ? '0' : op.type === 'put' ? '1' : '-1']
      })
    const answer = await this.#client.eval(APPLY, {
      keys: [this.#name, `${this.#name}:position`],
      arguments: [String(before ?? ''), String(after ?? ''), ...steps],
    })
    if (answer !== 1) throw new Error(`${this.#name} is no longer at ${before}: something else feeds it too`)
    return after
  }
}
