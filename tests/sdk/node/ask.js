// SPDX-License-Identifier: Apache-2.0
// What programs do with Node's libraries, unmodified: ask.js WHAT [ARGUMENT ...] prints JSON.
import http from 'node:http';
import * as metadata from 'gcp-metadata';
import {GoogleAuth, OAuth2Client} from 'google-auth-library';

const does = {
  async idToken(audience) {
    const client = await new GoogleAuth().getIdTokenClient(audience);
    return client.idTokenProvider.fetchIdToken(audience);
  },
  async headers(audience) {
    const client = await new GoogleAuth().getIdTokenClient(audience);
    const headers = await client.getRequestHeaders();
    return headers.get('authorization');
  },
  async accessToken() {
    const auth = new GoogleAuth();
    return {token: await auth.getAccessToken(), project: await auth.getProjectId(),
            email: (await auth.getCredentials()).client_email};
  },
  async sign(text) {
    return new GoogleAuth({scopes: 'https://www.googleapis.com/auth/cloud-platform'}).sign(text);
  },
  async universe() {
    return new GoogleAuth().getUniverseDomainFromMetadataServer();
  },
  async metadata() {
    return {available: await metadata.isAvailable(),
            email: await metadata.instance('service-accounts/default/email'),
            accounts: await metadata.instance('service-accounts/'),
            account: await metadata.instance({property: 'service-accounts/default/', params: {recursive: 'true'}}),
            number: String(await metadata.project('numeric-project-id')),
            id: String(await metadata.instance('id')), zone: await metadata.instance('zone')};
  },
  async verify(idToken, audience) {
    return (await new OAuth2Client().verifyIdToken({idToken, audience})).getPayload();
  },
  async unix(socketPath, audience) {
    const path = '/v1/token?audience=' + encodeURIComponent(audience);
    return new Promise((resolve, reject) => {
      http.get({socketPath, path, headers: {'Metadata-Flavor': 'Google'}}, answer => {
        let body = '';
        answer.on('data', piece => { body += piece; });
        answer.on('end', () => answer.statusCode === 200 ? resolve(body) : reject(new Error(body)));
      }).on('error', reject);
    });
  },
};

process.stdout.write(JSON.stringify(await does[process.argv[2]](...process.argv.slice(3))));
