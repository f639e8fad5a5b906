package devorch.testserver;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * What the command line asks for. Accepted is the part of {@code kestra server standalone} that an installation passes
 * (docs.kestra.io, "Server CLI"); anything else is refused, as Kestra's own parser does.
 *
 * @param component standalone, or webserver: the API without anything that runs
 * @param config the configuration file, or null: the one in {@code MICRONAUT_CONFIG_FILES} holds then
 * @param port the API's port, or null for the one of the configuration
 * @param workerThreads how many tasks run at a time, or null for Kestra's default of eight per processor
 */
record Options(String component, Path config, Integer port, Integer workerThreads) {
    private static final String USAGE =
        "Usage: kestra server standalone|webserver [-c|--config FILE] [--port N] [--worker-thread N] [--no-tutorials]";

    /**
     * Reads the command line.
     *
     * @throws IllegalArgumentException when something in it is not understood
     */
    static Options parse(List<String> arguments) {
        if (arguments.size() < 2 || !arguments.get(0).equals("server") || !List.of("standalone", "webserver").contains(arguments.get(1))) {
            throw new IllegalArgumentException(USAGE);
        }
        Path config = null;
        Integer port = null;
        Integer workerThreads = null;
        var rest = arguments.subList(2, arguments.size()).iterator();
        while (rest.hasNext()) {
            String[] option = rest.next().split("=", 2);
            switch (option[0]) {
                case "-c", "--config" -> config = Path.of(option.length > 1 ? option[1] : value(option[0], rest));
                case "--port" -> port = Integer.valueOf(option.length > 1 ? option[1] : value(option[0], rest));
                case "--worker-thread" -> workerThreads = Integer.valueOf(option.length > 1 ? option[1] : value(option[0], rest));
                case "--no-tutorials" -> { }
                default -> throw new IllegalArgumentException("Unknown option: '" + option[0] + "'\n" + USAGE);
            }
        }
        return new Options(arguments.get(1), config, port, workerThreads);
    }

    private static String value(String option, java.util.Iterator<String> rest) {
        if (!rest.hasNext()) {
            throw new IllegalArgumentException("Missing required parameter for option '" + option + "'\n" + USAGE);
        }
        return rest.next();
    }

    /** Whether flows are to run. */
    boolean runs() {
        return component.equals("standalone");
    }

    /** Whether a configuration file was named and is there: Kestra passes over an absent one. */
    boolean hasConfig() {
        return config != null && Files.exists(config);
    }
}
