import { VarveError } from '../errors.js'

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/

export function isLoopback(host: string): boolean {
  return LOOPBACK.test(host)
}

/** The name of a `Host` header without its port. */
export function hostName(header: string): string {
  return header.replace(/:\d+$/, '').toLowerCase()
}

/** The address of a leader, checked. @throws VarveError `VARVE_INVALID_ARGUMENT`. */
export function parseLeaderUrl(text: unknown, hasToken: boolean): URL {
  let url: URL
  try {
    url = new URL(text as string)
  } catch {
    throw invalid('leader is the URL of a log server')
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw invalid('leader is an http or https URL')
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw invalid('leader is a URL without credentials, query or fragment: pass `token`')
  if (hasToken && url.protocol === 'http:' && !isLoopback(url.hostname))
    throw invalid('a token is sent to another machine only over https')
  return url
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
