package devorch.testserver;

import io.micronaut.context.annotation.Value;
import io.micronaut.core.annotation.Nullable;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;

import jakarta.inject.Singleton;

/**
 * The one user of {@code kestra.server.basic-auth}. The rules are Kestra's: the name is an e-mail address (pattern of
 * Kestra 2.0, message as observed); a weak password does not stop the server, it is only never accepted.
 */
@Singleton
public class Credentials {
    private static final Pattern EMAIL = Pattern.compile("^[a-zA-Z0-9_!#$%&'*+/=?`{|}~^.-]+@[a-zA-Z0-9.-]+$");
    private static final Pattern PASSWORD = Pattern.compile("(?=.*[a-z])(?=.*[A-Z])(?=.*\\d).{8,256}");
    private static final String INVALID_USERNAME = "Invalid username for Basic Authentication. Please provide a valid email address.";
    private static final String INVALID_PASSWORD = "Invalid password for Basic Authentication. The password must have 8 chars, "
        + "one upper, one lower and one number";

    private final String username;
    private final String password;

    Credentials(
        @Nullable @Value("${kestra.server.basic-auth.username}") String username,
        @Nullable @Value("${kestra.server.basic-auth.password}") String password
    ) {
        this.username = username;
        this.password = password;
    }

    /**
     * Fails where Kestra would not come up.
     *
     * @throws IllegalArgumentException if a user name is configured that is no e-mail address
     */
    void requireEmailAddress() {
        if (username != null && !EMAIL.matcher(username).matches()) {
            throw new IllegalArgumentException(INVALID_USERNAME);
        }
    }

    /** What is wrong with the configured credentials; empty when they are usable. */
    public List<String> validationErrors() {
        return Stream.of(
            username == null || !EMAIL.matcher(username).matches() ? INVALID_USERNAME : "",
            password == null || !PASSWORD.matcher(password).matches() ? INVALID_PASSWORD : ""
        ).filter(error -> !error.isEmpty()).toList();
    }

    /** Whether there are credentials that can be used. */
    public boolean areInitialized() {
        return validationErrors().isEmpty();
    }

    /** Whether the value of an Authorization header carries these credentials. */
    public boolean match(@Nullable String authorization) {
        if (authorization == null || !areInitialized()) {
            return false;
        }
        byte[] token = Base64.getEncoder().encode((username + ":" + password).getBytes(StandardCharsets.UTF_8));
        String expected = "Basic " + new String(token, StandardCharsets.US_ASCII);
        return MessageDigest.isEqual(expected.getBytes(StandardCharsets.UTF_8), authorization.getBytes(StandardCharsets.UTF_8));
    }
}
