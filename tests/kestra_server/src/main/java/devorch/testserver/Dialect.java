package devorch.testserver;

import io.micronaut.context.annotation.Value;

import jakarta.inject.Singleton;

/**
 * The version whose addresses, statuses and bodies the server uses: 2.0, or 1.3 where the environment variable
 * {@code TEST_SERVER_DIALECT} says so. The engine behind them is 2.0's either way.
 */
@Singleton
public class Dialect {
    /** Routes of one dialect alone carry {@code @Requires(property = Dialect.PROPERTY, value = "1.3")}, or 2.0. */
    public static final String PROPERTY = "test-server.dialect";
    private static final String OLD = "1.3";

    private final String name;

    Dialect(@Value("${" + PROPERTY + "}") String name) {
        if (!name.equals(OLD) && !name.equals("2.0")) {
            throw new IllegalArgumentException("TEST_SERVER_DIALECT is '" + name + "'; it is 1.3 or 2.0");
        }
        this.name = name;
    }

    /** Whether the server answers as 1.3 does. */
    public boolean isOld() {
        return name.equals(OLD);
    }
}
