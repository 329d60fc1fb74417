// The certified `oidc-provider`, as an organisation would run it: a configuration file in, an issuer on a loopback port.
// It knows nothing of Probegate. Its own development pages sign in whoever types a name; the claims of a name stand in
// the configuration. Started by tests/builders/oidc_provider.py, which waits for the line that names the issuer.
import { readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const given = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${given.port}`;

const provider = new Provider(issuer, {
  clients: given.clients,
  jwks: { keys: given.keys },
  cookies: { keys: ['a key for the cookies of a test'] },
  claims: { openid: ['sub'], profile: ['name'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'groups', 'offline_access'],
  conformIdTokenClaims: false,
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  enabledJWA: { idTokenSigningAlgValues: ['ES256', 'RS256'] },
  ttl: { AccessToken: 3600, ClientCredentials: 3600, IdToken: 3600, DeviceCode: 600, Session: 3600, Grant: 3600, Interaction: 600, RefreshToken: 3600 },
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => given.resource,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        scope: '',
        audience: given.audience,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  // It calls no address of this machine by itself; in a test, the control plane's back channel is there.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  findAccount: (_, name) => ({
    accountId: name,
    claims: () => ({ sub: name, ...(given.people[name] ?? {}) }),
  }),
  // RFC 9068, 2.2.1 and 2.2.3: when the person signed in, and what the API may know of them.
  extraTokenClaims: (ctx, token) => {
    const source = ctx.oidc.entities.AuthorizationCode ?? ctx.oidc.entities.DeviceCode ?? ctx.oidc.entities.RefreshToken;
    if (!token.accountId) return undefined;
    return { ...(given.people[token.accountId] ?? {}), auth_time: source?.authTime, acr: source?.acr };
  },
});

provider.on('backchannel.error', (_, error) => console.error(`back channel: ${error.message} ${error.cause ?? ''}`));
provider.on('backchannel.success', () => console.error('back channel: told'));
provider.listen(given.port, '127.0.0.1', () => console.log(`issuer ${issuer}`));
