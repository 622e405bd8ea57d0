import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * Runs a script of statements on the Flink cluster of this machine and waits for its jobs:
 * {@code java -cp 'lib/*' Submit.java script.sql}. (The packages from PyPI bring an SQL client that does
 * not start: the gateway it needs is missing.)
 */
public class Submit {
    private static final Pattern SET = Pattern.compile("SET '([^']*)' = '([^']*)'");

    public static void main(String[] arguments) throws Exception {
        Configuration cluster = new Configuration();
        cluster.setString("execution.target", "remote");
        cluster.setString("rest.address", "127.0.0.1");
        cluster.setString("rest.port", "8081");
        TableEnvironment tables =
                TableEnvironment.create(
                        EnvironmentSettings.newInstance()
                                .inStreamingMode()
                                .withConfiguration(cluster)
                                .build());
        for (String statement : Files.readString(Path.of(arguments[0])).split(";\\s*\n")) {
            Matcher setting = SET.matcher(statement.strip());
            if (setting.matches()) {
                tables.getConfig().set(setting.group(1), setting.group(2));
            } else if (!statement.isBlank()) {
                tables.executeSql(statement).await();
            }
        }
    }
}
