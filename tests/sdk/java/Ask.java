// SPDX-License-Identifier: Apache-2.0

import com.google.auth.oauth2.AccessToken;
import com.google.auth.oauth2.ComputeEngineCredentials;
import com.google.auth.oauth2.GoogleCredentials;
import com.google.auth.oauth2.IdTokenCredentials;
import com.google.auth.oauth2.IdTokenProvider;
import com.google.auth.oauth2.TokenVerifier;
import java.util.Base64;
import java.util.List;

/** What programs do with Java's library, unmodified: Ask WHAT [ARGUMENT ...] prints a line. */
public final class Ask {
  private Ask() {}

  private static String idToken(String audience, List<IdTokenProvider.Option> options) throws Exception {
    GoogleCredentials credentials = GoogleCredentials.getApplicationDefault();
    AccessToken token = IdTokenCredentials.newBuilder()
        .setIdTokenProvider((IdTokenProvider) credentials)
        .setTargetAudience(audience)
        .setOptions(options)
        .build()
        .refreshAccessToken();
    return token.getTokenValue();
  }

  private static String run(String[] argument) throws Exception {
    switch (argument[0]) {
      case "idToken":
        return idToken(argument[1], List.of());
      case "fullIdToken":
        return idToken(argument[1], List.of(IdTokenProvider.Option.FORMAT_FULL));
      case "accessToken":
        return GoogleCredentials.getApplicationDefault().refreshAccessToken().getTokenValue();
      case "universe":
        return GoogleCredentials.getApplicationDefault().getUniverseDomain();
      case "email":
        return ComputeEngineCredentials.create().getAccount();
      case "sign":
        byte[] signature = ((ComputeEngineCredentials) GoogleCredentials.getApplicationDefault())
            .sign(argument[1].getBytes("UTF-8"));
        return Base64.getEncoder().encodeToString(signature);
      case "verify":
        return (String) TokenVerifier.newBuilder().setAudience(argument[2]).build()
            .verify(argument[1]).getPayload().get("email");
      default:
        throw new IllegalArgumentException(argument[0]);
    }
  }

  public static void main(String[] argument) throws Exception {
    System.out.print(run(argument));
  }
}
