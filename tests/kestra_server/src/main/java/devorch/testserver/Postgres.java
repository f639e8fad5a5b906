package devorch.testserver;

import io.micronaut.context.annotation.Value;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.health.HealthStatus;
import io.micronaut.management.health.indicator.HealthIndicator;
import io.micronaut.management.health.indicator.HealthResult;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;

import jakarta.inject.Singleton;
import lombok.extern.slf4j.Slf4j;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Mono;

/**
 * The PostgreSQL that the configuration names. The engine's state is not in it, but the server lives and dies with it
 * as Kestra does: without a connection it ends after the 30 seconds of Kestra's connection pool, and once the
 * connection was lost it never becomes healthy again, even when PostgreSQL is back (both observed on Kestra).
 */
@Slf4j
@Singleton
public class Postgres implements HealthIndicator {
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final Duration INTERVAL = Duration.ofSeconds(1);
    private static final String ANSWER_TIMEOUT_SECONDS = "5";

    private final String url;
    private final Properties properties = new Properties();
    private volatile Connection connection;
    private volatile boolean lost;

    Postgres(
        @Nullable @Value("${datasources.postgres.url}") String url,
        @Nullable @Value("${datasources.postgres.username}") String username,
        @Nullable @Value("${datasources.postgres.password}") String password
    ) {
        this.url = url;
        properties.setProperty("user", username == null ? "" : username);
        properties.setProperty("password", password == null ? "" : password);
        properties.setProperty("connectTimeout", ANSWER_TIMEOUT_SECONDS);
        properties.setProperty("socketTimeout", ANSWER_TIMEOUT_SECONDS);
    }

    /**
     * Connects, and watches the connection from then on.
     *
     * @return whether PostgreSQL answered a query in time; if not, the log has its message
     */
    boolean open() throws InterruptedException {
        if (url == null) {
            log.error("datasources.postgres.url is not configured.");
            return false;
        }
        long deadline = System.nanoTime() + PATIENCE.toNanos();
        String reason = null;
        while (System.nanoTime() < deadline) {
            try {
                connection = DriverManager.getConnection(url, properties);
                query();
                Thread.ofPlatform().daemon().name("postgres-watch").start(this::watch);
                return true;
            } catch (SQLException e) {
                if (!e.getMessage().equals(reason)) {
                    log.warn("PostgreSQL is not available: {}", e.getMessage());
                }
                reason = e.getMessage();
                Thread.sleep(INTERVAL);
            }
        }
        log.error("PostgreSQL was not available for {} seconds: {}", PATIENCE.toSeconds(), reason);
        return false;
    }

    private void watch() {
        try {
            while (true) {
                query();
                Thread.sleep(INTERVAL);
            }
        } catch (SQLException e) {
            lost = true;
            log.error("The connection to PostgreSQL is lost: {}. Restart the server.", e.getMessage());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void query() throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("SELECT 1");
        }
    }

    /** Whether the connection broke since the start. */
    public boolean isLost() {
        return lost;
    }

    @Override
    public Publisher<HealthResult> getResult() {
        boolean up = connection != null && !lost;
        return Mono.just(HealthResult.builder("postgres", up ? HealthStatus.UP : HealthStatus.DOWN).details(Map.of("lost", lost)).build());
    }
}
